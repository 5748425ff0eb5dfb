"""Where everything is right now: depth and oldest age of every stage, from the broker to the dead letters.

Two round trips, and a third only while something waits for a retry. Nothing here grows with a backlog: lists are
measured, not read; of each only the oldest item is looked at. Nothing is changed, not even RQ's registries.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from redis import Redis
from redis.exceptions import RedisError

from deedbox.ops.readmodels import unknown_calls, workforce
from deedbox.ops.readmodels.unknown_calls import UnknownCalls
from deedbox.ops.readmodels.workforce import Worker
from deedbox.shared.core.identity import SHARDS
from deedbox.shared.records import queue_entry
from deedbox.shared.records.counts import count_of, counts_of, moment_of
from deedbox.shared.records.lanes import AnnouncedLane
from deedbox.shared.records.presence import LostCall
from deedbox.shared.records.spool_mark import SpoolMarks, oldest
from deedbox.shared.redis import keys
from deedbox.shared.redis.connections import translated
from deedbox.shared.redis.scripting import text

WAITING_SAMPLE: Final = 200
"""Heads of line that are looked at for ``retrying``: those that are due first. The oldest failure may be another."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of the flow."""

    depth: int | None
    """How many items it has; None if the server that holds it did not answer."""
    oldest_age_s: float | None = None
    """How long its oldest item has been there; None if it is empty, or does not say."""


@dataclass(frozen=True, slots=True)
class WaitingHead:
    """A queue's head that failed or was put off; everything behind it in its queue waits too."""

    lane: str
    action: str
    stream: str
    due_in_s: float
    """Seconds until the next attempt; negative if it is overdue."""
    failures: int
    retries: int
    since_s: float
    """Seconds since its first failure."""


@dataclass(frozen=True, slots=True)
class Lane:
    """One lane's figures."""

    name: str
    stage: Stage
    waiting: int
    actions: tuple[str, ...] = ()
    leased: bool = False
    """A lease runs: some process works here."""
    overdue_s: float = 0.0
    """How long its oldest abandoned lease or due retry has waited for a sweeper."""
    unused: bool = False
    """No declared action names it any more."""


@dataclass(slots=True)
class Survey:
    """One look at the state's Redis."""

    now: float
    """Unix seconds, Redis's clock."""
    inbox: Stage
    held: Stage
    dead: Stage
    counters: dict[str, int]
    lanes: list[Lane] = field(default_factory=list)
    workers: list[Worker] = field(default_factory=list)
    """The living ones."""
    lost: list[LostCall] = field(default_factory=list)
    """The latest calls whose process ended without an outcome, the last one first."""
    spools: SpoolMarks = SpoolMarks({}, {}, ())
    """What the web hosts said of their spools."""
    retrying: Stage = field(default_factory=lambda: Stage(0))
    waiting: list[WaitingHead] = field(default_factory=list)
    """Up to ``WAITING_SAMPLE`` heads of line, soonest first."""
    unknown: list[UnknownCalls] = field(default_factory=list)
    """Calls of actions that no module declares."""
    overdue_holds_s: float = 0.0
    """How long the oldest hold has been over without anybody looking."""

    @property
    def spool(self) -> Stage:
        """Callbacks on the disks of all web hosts, as they said last; also of hosts that are silent now."""
        marks = [*self.spools.live.values(), *self.spools.silent.values()]
        return Stage(sum(mark.callbacks for mark in marks), _age_s(self.now, oldest(marks)))

    @property
    def overdue_s(self) -> float:
        """How long work that only a sweeper wakes has been due."""
        # A shard that is ready or leased was woken; if it still waits, it waits for a worker.
        woken = any(lane.name == keys.SEQUENCER and lane.stage.depth for lane in self.lanes)
        return max([0.0 if woken else self.overdue_holds_s, *(lane.overdue_s for lane in self.lanes)])


def survey(redis: Redis) -> Survey:
    """Look at everything but the broker. Raises Unavailable."""
    try:
        return _survey(redis)
    except RedisError as error:
        raise translated(error) from error


def _survey(redis: Redis) -> Survey:
    found, announced = _first_look(redis)
    names = tuple(dict.fromkeys((keys.SEQUENCER, *announced)))
    pipe = redis.pipeline(transaction=False)
    for name in names:
        for part, end in (("ready", 0), ("leased", 0), ("leased", -1), ("waiting", 0)):
            pipe.zrange(keys.lane(name, part), end, end, withscores=True)
        for part in ("ready", "leased", "waiting"):
            pipe.zcard(keys.lane(name, part))
        pipe.get(keys.lane(name, "depth"))
        for part in ("waiting", "ready"):
            pipe.zrange(keys.lane(name, part), 0, WAITING_SAMPLE - 1, withscores=True)
    replies = iter(pipe.execute())
    sample: list[tuple[float, str, str]] = []
    ready: list[tuple[str, str, float]] = []
    for name in names:
        found.lanes.append(_lane(name, announced, replies, found.now))
        sample += [(due, name, text(unit)) for unit, due in next(replies)]
        ready += [(name, text(unit), max(0.0, found.now - since)) for unit, since in next(replies)]
    found.waiting = _heads(redis, sorted(sample)[:WAITING_SAMPLE], found.now)
    oldest = max((head.since_s for head in found.waiting), default=None)
    found.retrying = Stage(sum(lane.waiting for lane in found.lanes), oldest)
    _look_for_unknown(found, announced, ready)
    return found


def _look_for_unknown(
    found: Survey, announced: Mapping[str, AnnouncedLane], ready: list[tuple[str, str, float]]
) -> None:
    unused = unknown_calls.unused(announced, (worker.lane for worker in found.workers))
    found.lanes = [replace(lane, unused=lane.name in unused) for lane in found.lanes]
    waiting = [(head.lane, f"{head.action}|{head.stream}", head.since_s) for head in found.waiting]
    deep = frozenset(lane.name for lane in found.lanes if (lane.stage.depth or 0) > WAITING_SAMPLE)
    found.unknown = unknown_calls.unknown(announced, unused, [*ready, *waiting], deep)


def _first_look(redis: Redis) -> tuple[Survey, dict[str, AnnouncedLane]]:
    pipe = redis.pipeline(transaction=False)
    pipe.time()
    for shard in range(SHARDS):
        pipe.llen(keys.inbox(shard))
        pipe.lindex(keys.inbox(shard), 0)
        pipe.zrange(f"{keys.PREFIX}wake:{shard}", 0, 0, withscores=True)
    for key in (keys.HELD, keys.DEAD):
        pipe.zcard(key)
        pipe.zrange(key, 0, 0, withscores=True)
    pipe.hgetall(keys.COUNTERS)
    pipe.hgetall(keys.SPOOLS)
    pipe.hgetall(keys.LANES)
    pipe.zrange(keys.WORKERS, 0, -1, withscores=True)
    pipe.hgetall(keys.WORKERS_DOING)
    pipe.lrange(keys.LOST, 0, -1)
    replies = iter(pipe.execute())
    seconds, microseconds = next(replies)
    now = seconds + microseconds / 1_000_000
    inbox, wake_at = _inbox(replies, now)
    held, dead = (Stage(next(replies), _age_s(now, _score(next(replies)))) for _ in range(2))
    counters = counts_of(next(replies))
    spools = SpoolMarks.of(next(replies), now)
    lanes = {text(name): _announced(described) for name, described in next(replies).items()}
    overdue_s = _age_s(now, wake_at) or 0.0
    found = Survey(now, inbox, held, dead, counters, spools=spools, overdue_holds_s=overdue_s)
    found.workers = workforce.living(next(replies), next(replies), now)
    found.lost = workforce.lost_calls(next(replies))
    return found, lanes


def _inbox(replies: Iterator[Any], now: float) -> tuple[Stage, float | None]:
    """Sum the shards up. Returns the stage and when the first hold is over."""
    depth, appended, wakes = 0, [], []
    for _ in range(SHARDS):
        depth += next(replies)
        appended.append(_appended_at(next(replies)))
        wakes.append(_score(next(replies)))
    return Stage(depth, _age_s(now, _first(appended))), _first(wakes)


def _appended_at(entry: bytes | None) -> float | None:
    """Read the time that an inbox entry begins with."""
    return None if entry is None else moment_of(entry.partition(b"\n")[0])


def _first(times: Iterable[float | None]) -> float | None:
    return min((at for at in times if at is not None), default=None)


def _announced(described: bytes) -> AnnouncedLane:
    return AnnouncedLane.load(described) or AnnouncedLane((), 0.0)


def _lane(name: str, announced: Mapping[str, AnnouncedLane], replies: Iterator[Any], now: float) -> Lane:
    ready_at, first_end, last_end, due_at = (_score(next(replies)) for _ in range(4))
    ready, leased, waiting = (int(next(replies)) for _ in range(3))
    depth = count_of(next(replies))
    overdue = [now - at for at in (first_end, due_at) if at is not None]
    return Lane(
        name,
        # The sequencer's queues are the inbox, counted there: its own depth is shards at work or ready.
        Stage(ready + leased if name == keys.SEQUENCER else max(0, depth), _age_s(now, ready_at)),
        waiting,
        announced[name].actions if name in announced else (),
        leased=last_end is not None and last_end > now,
        overdue_s=max(0.0, *overdue) if overdue else 0.0,
    )


def _heads(redis: Redis, sample: list[tuple[float, str, str]], now: float) -> list[WaitingHead]:
    if not sample:
        return []
    pipe = redis.pipeline(transaction=False)
    for _, _, unit in sample:
        pipe.lindex(keys.queue(unit), 0)
    heads = []
    for (due, lane, unit), packed in zip(sample, pipe.execute(), strict=True):
        action, _, rest = unit.partition("|")
        entry = queue_entry.load(packed or b"")
        if not entry:
            continue  # it left its queue between the two looks, or cannot be read
        since = entry.enqueued_at if entry.first_failed_at is None else entry.first_failed_at
        heads.append(
            WaitingHead(
                lane,
                action,
                rest.partition("|")[0],
                due_in_s=round(due - now, 3),
                failures=entry.failures,
                retries=entry.retries,
                since_s=round(max(0.0, now - since), 3),
            )
        )
    return heads


def _score(rows: list[tuple[bytes, float]]) -> float | None:
    return float(rows[0][1]) if rows else None


def _age_s(now: float, since: float | None) -> float | None:
    return None if since is None else round(max(0.0, now - since), 3)
