"""Times as people give them: how long ago, or when."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from deedbox.shared.core.errors import SettingsError

SYNTAX: Final = "30m, 2h, 3d or a time such as 2026-05-04T13:30 (UTC unless it names an offset)"
"""For ``--help``."""

_AGO: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)\s*(s|m|min|h|d|w)", re.ASCII)
_UNIT_S: Final = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


def moment(text: str, option: str, now: float) -> float:
    """Return the unix seconds that a person means. Raises SettingsError that names the option."""
    ago = _AGO.fullmatch(text.strip().lower())
    if ago is not None:
        return max(0.0, now - float(ago[1]) * _UNIT_S[ago[2]])
    try:
        found = datetime.fromisoformat(text.strip())
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise SettingsError(f"{option} is no time; give {SYNTAX}.") from None


def span(since: str, until: str, now: float) -> tuple[float, float]:
    """Return start and end in unix seconds: from the beginning and until now, if not told. Raises SettingsError."""
    start = moment(since, "--since", now) if since else 0.0
    end = moment(until, "--until", now) if until else now
    if start > now:
        raise SettingsError("--since lies in the future; nothing has happened then yet.")
    if end <= start:
        raise SettingsError("--until is not after --since.")
    return start, end
