"""What a person meant who named an action that there is not."""

from __future__ import annotations

import difflib
from collections.abc import Collection

_CLOSE: float = 0.6


def meant(name: str, actions: Collection[str], lanes: Collection[str]) -> str:
    """Return a sentence that helps, or nothing: a lane, the end of a longer name, or a typing error."""
    ends = sorted(each for each in actions if each.endswith(f".{name}"))
    if ends:
        return f"Did you mean {' or '.join(ends)}?"
    if name in lanes:
        return f"{name} is a lane, not an action."
    close = difflib.get_close_matches(name, sorted(actions), n=1, cutoff=_CLOSE)
    return f"Did you mean {close[0]}?" if close else ""
