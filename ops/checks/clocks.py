"""The check that compares this host's clock with Redis's: ages and holds are measured by Redis's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

from redis import Redis
from redis.exceptions import RedisError

from deedbox.ops.checks.finding import Finding, failed, ok, warning
from deedbox.ops.wording.output import duration

WARN_FROM_S: Final = 2.0
"""Ages that pages show are wrong by so much."""

FAIL_FROM_S: Final = 30.0
"""The hold's default: events of one host would then count as waiting for longer, or not at all."""


def check(redis: Redis, clock: Callable[[], float] = time.time) -> Iterator[Finding]:
    """Compare the clocks; half of the question's own time is the most that the answer can be off."""
    began = clock()
    try:
        seconds, microseconds = redis.time()
    except RedisError:
        return  # reported by the check of the server
    ended = clock()
    yield finding(seconds + microseconds / 1_000_000 - (began + ended) / 2)


def finding(ahead_s: float) -> Finding:
    """Judge how far Redis's clock is ahead of this host's (seconds)."""
    name, apart = "clocks", abs(ahead_s)
    if apart < WARN_FROM_S:
        return ok(name, f"this host and Redis agree to {duration(max(0.001, round(apart, 3)))}")
    side = "behind" if ahead_s > 0 else "ahead of"
    detail = f"this host's clock is {duration(apart)} {side} Redis's"
    fix = "synchronise the clocks of all hosts (chrony, systemd-timesyncd)"
    return failed(name, detail, fix) if apart >= FAIL_FROM_S else warning(name, detail, fix)
