from __future__ import annotations

import pytest

from deedbox.ops.wording.times import moment, span
from deedbox.shared.core.errors import SettingsError

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("text", "seconds_ago"),
    [
        ("90s", 90),
        ("15m", 900),
        ("15 min", 900),
        ("2h", 7200),
        ("1.5H", 5400),
        ("3d", 259_200),
        ("1w", 604_800),
    ],
)
def test_a_time_is_how_long_ago(text: str, seconds_ago: float) -> None:
    assert moment(text, "--since", NOW) == NOW - seconds_ago


@pytest.mark.parametrize(
    ("text", "unix_s"),
    [
        ("2026-05-04", 1_777_852_800),
        ("2026-05-04T13:30", 1_777_901_400),
        ("2026-05-04 13:30:00Z", 1_777_901_400),
        ("2026-05-04T15:30+02:00", 1_777_901_400),
    ],
)
def test_or_a_point_in_time_in_utc_unless_it_names_an_offset(text: str, unix_s: float) -> None:
    assert moment(text, "--since", NOW) == unix_s


@pytest.mark.parametrize("text", ["", "soon", "2", "h", "-2h", "2y", "1e9h", "2026-13-01", "9" * 40 + "d"])
def test_anything_else_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^--until is no time; give 30m, 2h, 3d or a time such as"):
        moment(text, "--until", NOW)


def test_a_span_runs_forward_and_not_into_the_future() -> None:
    assert span("", "", NOW) == (0.0, NOW)
    assert span("2h", "1h", NOW) == (NOW - 7200, NOW - 3600)
    with pytest.raises(SettingsError, match="--until is not after"):
        span("1h", "1h", NOW)
    with pytest.raises(SettingsError, match="lies in the future"):
        span("2099-01-01", "", NOW)
