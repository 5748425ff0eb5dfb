"""Until when an answer of the API makes an account wait."""

from __future__ import annotations

import pytest

from deedbox.workers.dropbox_sign.client import PAUSE_MAX_S, reset_at

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("status", "headers", "wait_s"),
    [
        (200, {}, None),
        (200, {"X-RateLimit-Remaining": "3"}, None),
        (200, {"X-RateLimit-Remaining": "0"}, 1),
        (200, {"x-ratelimit-limit-remaining": "0", "X-Ratelimit-Reset": "1800000040"}, 40),
        (200, {"Retry-After": "600"}, None),
        (429, {}, 60),
        (429, {"Retry-After": "600"}, 600),
        (429, {"retry-after": "600", "X-Ratelimit-Reset": "1800000040"}, 600),
        (429, {"Retry-After": "Fri, 15 Jan 2027 08:05:00 GMT"}, 300),
        (429, {"Retry-After": "0"}, 60),
        (429, {"Retry-After": "Fri, 15 Jan 2021 08:05:00 GMT"}, 60),
        (429, {"Retry-After": "soon"}, 60),
        (429, {"Retry-After": "9" * 400}, PAUSE_MAX_S),
        (429, {"X-Ratelimit-Reset": "4102444800"}, PAUSE_MAX_S),
        (503, {"Retry-After": "120"}, 120),
        (503, {}, None),
    ],
)
def test_an_account_waits_as_long_as_it_is_told_within_a_bound(
    status: int, headers: dict[str, str], wait_s: float | None
) -> None:
    until = reset_at(headers, status, NOW)
    assert (None if until is None else until - NOW) == wait_s
