"""The samples in Redis: one per interval, however many ops processes run."""

from __future__ import annotations

from typing import Any, Final, cast

from redis import Redis
from redis.exceptions import ResponseError, WatchError

from deedbox.ops.charts.sampling import sample, totals_of
from deedbox.ops.installation import Installation
from deedbox.ops.readmodels import status
from deedbox.shared.records.sample import Sample, SampleTotals
from deedbox.shared.redis import keys
from deedbox.shared.redis.connections import translating
from deedbox.shared.redis.scripting import text

INTERVAL_S: Final = 10.0

FIELD: Final = "sample"
PAGE: Final = 200
"""Samples of one reply: a day of them is megabytes."""

_TURN_S: Final = 60


@translating()
def take(installation: Installation) -> bool:
    """Take the sample of this interval, unless another ops process has. Returns whether it was taken.

    Raises SettingsError if nothing runs here, Unavailable if Redis does not answer.
    """
    redis = installation.redis
    slot = int(installation.now() // INTERVAL_S)
    if not redis.set(keys.samples_turn(slot), "1", nx=True, ex=_TURN_S):
        return False
    return _write(redis, status.look(installation), slot)


def _write(redis: Redis, found: status.Status, slot: int) -> bool:
    with redis.pipeline() as pipe:
        # A process that was slower than its interval would count what the next one has counted.
        pipe.watch(keys.SAMPLES_TOTALS)  # type: ignore[no-untyped-call]
        before = SampleTotals.load(pipe.get(keys.SAMPLES_TOTALS) or b"") or None
        now = found.survey.now
        totals = totals_of(now, found.survey.counters, found.web)
        made = sample(before, totals, found.stages)
        pipe.multi()
        name = f"{int(slot * INTERVAL_S * 1000)}-0"
        pipe.xadd(keys.SAMPLES, {FIELD: made.dump()}, id=name, maxlen=keys.SAMPLES_KEEP, approximate=True)
        pipe.set(keys.SAMPLES_TOTALS, totals.dump(), ex=86_400)
        try:
            pipe.execute()
        except (WatchError, ResponseError):
            return False  # a later slot has its sample already, or the server's clock went back
    return True


@translating()
def read(redis: Redis, since: float) -> list[Sample]:
    """Read the samples from a time on (unix seconds), oldest first. Raises Unavailable."""
    rows: list[Any] = []
    first = f"{int(since * 1000)}-0"
    while page := cast("list[Any]", redis.xrange(keys.SAMPLES, min=first, count=PAGE)):
        rows += page
        first = "(" + text(page[-1][0])
    found = (Sample.load(fields.get(FIELD.encode(), b"")) for _, fields in rows)
    return [each for each in found if each]
