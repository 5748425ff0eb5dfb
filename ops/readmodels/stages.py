"""Where everything is right now: depth and oldest age of every stage, from the broker to the dead letters.

Two round trips, and a third only while something waits for a retry. Nothing here grows with a backlog: lists are
measured, not read; of each only the oldest item is looked at. Nothing is changed, not even RQ's registries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from redis import Redis

from deedbox.ops.readmodels import workforce
from deedbox.ops.readmodels.workforce import Worker
from deedbox.shared import pauses
from deedbox.shared.core.fields import counts_of, moment_of
from deedbox.shared.core.identity import SHARDS
from deedbox.shared.pauses import Pause
from deedbox.shared.records import queue_entry, subscriptions
from deedbox.shared.records.presence import LostCall
from deedbox.shared.records.spool_mark import SpoolMarks, oldest
from deedbox.shared.records.subscriptions import Subscriptions
from deedbox.shared.redis import keys
from deedbox.shared.redis.connections import translating
from deedbox.shared.redis.scripting import text

NO_LANE: Final = ""
"""Of actions that no process declares any more."""

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
    """It has living workers, and no declared action names it any more."""
    open_age_s: float = 0.0
    """How long the oldest work has been ready that no pause keeps."""


@dataclass(frozen=True, slots=True)
class UnknownCalls:
    """Calls of one action that nothing declares any more: no process will run them."""

    action: str
    calls: int
    oldest_s: float
    """How long the oldest of them has waited, at least."""


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
    foreign_jobs: dict[str, int] = field(default_factory=dict)
    """Lane -> jobs in its queue that were no doorbells and were dropped, lately."""
    foreign_keys: list[str] = field(default_factory=list)
    """Keys of another type than ours, which were moved away."""
    spools: SpoolMarks = SpoolMarks({}, {}, ())
    """What the web hosts said of their spools."""
    pauses: tuple[Pause, ...] = ()
    """What is paused, the oldest first."""
    depths: dict[str, int] = field(default_factory=dict)
    """Calls that wait or run, by action."""
    retrying: Stage = field(default_factory=lambda: Stage(0))
    waiting: list[WaitingHead] = field(default_factory=list)
    """Up to ``WAITING_SAMPLE`` heads of line, soonest first."""
    unknown: list[UnknownCalls] = field(default_factory=list)
    """Calls of actions that no module declares."""
    overdue_holds_s: float = 0.0
    """How long the oldest hold has been over without anybody looking."""

    def heads_of(self, prefix: str) -> list[WaitingHead]:
        """Return the head that has waited longest of each action whose name begins so."""
        found: dict[str, WaitingHead] = {}
        for head in sorted(self.waiting, key=lambda each: -each.since_s):
            if head.action.startswith(prefix):
                found.setdefault(head.action, head)
        return list(found.values())

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


@translating()
def survey(redis: Redis) -> Survey:
    """Look at everything but the broker. Raises Unavailable."""
    found, subscribed, depths = _first_look(redis)
    lanes = {keys.SEQUENCER: (), **subscribed.lanes}
    paused = {each.target.field for each in found.pauses}
    pipe = redis.pipeline(transaction=False)
    left = subscribed.undeclared(depths)
    _look_into(pipe, keys.shards)
    for action in (*subscribed.lane_of, *left):
        _look_into(pipe, partial(keys.action, action))
    replies = iter(pipe.execute())
    sample: list[tuple[float, str, str]] = []
    pools = {name: _pool(replies) for name in (keys.SEQUENCER, *subscribed.lane_of, *left)}
    for name, actions in lanes.items():
        mine = [pools[each] for each in actions] if name != keys.SEQUENCER else [pools[name]]
        lane = _lane(name, actions, mine, sum(depths.get(each, 0) for each in actions), found.now)
        going = (
            [] if f"lane|{name}" in paused else [each for each in actions if f"action|{each}" not in paused]
        )
        ready_s = _age_s(found.now, _first(pools[each].ready_at for each in going))
        found.lanes.append(replace(lane, open_age_s=ready_s or 0.0))
        sample += [(due, name, text(unit)) for pool in mine for unit, due in pool.waiting_first]
    sample += [(due, NO_LANE, text(unit)) for name in left for unit, due in pools[name].waiting_first]
    found.waiting = _heads(redis, sorted(sample)[:WAITING_SAMPLE], found.now)
    oldest = max((head.since_s for head in found.waiting), default=None)
    found.retrying = Stage(sum(lane.waiting for lane in found.lanes), oldest)
    found.lanes += _unused(found, lanes)
    found.unknown = [_unknown(found, name, calls, pools[name]) for name, calls in left.items()]
    return found


def _first_look(redis: Redis) -> tuple[Survey, Subscriptions, dict[str, int]]:
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
    pipe.hgetall(keys.SUBSCRIPTIONS)
    pipe.hgetall(keys.DEPTHS)
    pipe.zrange(keys.WORKERS, 0, -1, withscores=True)
    pipe.hgetall(keys.WORKERS_DOING)
    pipe.lrange(keys.LOST, 0, -1)
    pipe.hgetall(keys.FOREIGN_JOBS)
    pipe.zrange(keys.FOREIGN, 0, -1)
    pipe.hgetall(keys.PAUSED)
    replies = iter(pipe.execute())
    seconds, microseconds = next(replies)
    now = seconds + microseconds / 1_000_000
    inbox, wake_at = _inbox(replies, now)
    held, dead = (Stage(next(replies), _age_s(now, _score(next(replies)))) for _ in range(2))
    counters = counts_of(next(replies))
    spools = SpoolMarks.of(next(replies), now)
    subscribed = subscriptions.load(next(replies)) or Subscriptions()
    depths = counts_of(next(replies))
    overdue_s = _age_s(now, wake_at) or 0.0
    found = Survey(now, inbox, held, dead, counters, spools=spools, overdue_holds_s=overdue_s)
    found.depths = depths
    found.workers = workforce.living(next(replies), next(replies), now)
    found.lost = workforce.lost_calls(next(replies))
    found.foreign_jobs = counts_of(next(replies))
    found.foreign_keys = [text(each) for each in next(replies)]
    found.pauses = pauses.of_reply(next(replies))
    return found, subscribed, depths


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


def _unused(found: Survey, lanes: Mapping[str, object]) -> list[Lane]:
    names = dict.fromkeys(worker.lane for worker in found.workers if worker.lane not in lanes)
    return [Lane(name, Stage(0), 0, unused=True) for name in names]


def _unknown(found: Survey, action: str, calls: int, pool: _Pool) -> UnknownCalls:
    ready_s = _age_s(found.now, pool.ready_at) or 0.0
    waiting_s = max((head.since_s for head in found.waiting if head.action == action), default=0.0)
    return UnknownCalls(action, calls, max(ready_s, waiting_s))


@dataclass(frozen=True, slots=True)
class _Pool:
    """The units of one action, or the shards of the inbox."""

    ready_at: float | None
    first_end: float | None
    last_end: float | None
    counts: tuple[int, int, int]
    """Ready, leased, waiting."""
    waiting_first: list[tuple[bytes, float]]


def _look_into(pipe: Any, key: Callable[[str], str]) -> None:
    for part, end in (("ready", 0), ("leased", 0), ("leased", -1)):
        pipe.zrange(key(part), end, end, withscores=True)
    for part in ("ready", "leased", "waiting"):
        pipe.zcard(key(part))
    pipe.zrange(key("waiting"), 0, WAITING_SAMPLE - 1, withscores=True)


def _pool(replies: Iterator[Any]) -> _Pool:
    ready_at, first_end, last_end = (_score(next(replies)) for _ in range(3))
    ready, leased, waiting = (int(next(replies)) for _ in range(3))
    return _Pool(ready_at, first_end, last_end, (ready, leased, waiting), next(replies))


def _lane(name: str, actions: tuple[str, ...], pools: Sequence[_Pool], depth: int, now: float) -> Lane:
    ready, leased, waiting = (sum(counts) for counts in zip(*(pool.counts for pool in pools), strict=True))
    due = [at for pool in pools for at in (pool.first_end, _score(pool.waiting_first)) if at is not None]
    return Lane(
        name,
        # The sequencer's queues are the inbox, counted there: its own depth is shards at work or ready.
        Stage(
            ready + leased if name == keys.SEQUENCER else depth,
            _age_s(now, _first(pool.ready_at for pool in pools)),
        ),
        waiting,
        actions,
        leased=any(pool.last_end is not None and pool.last_end > now for pool in pools),
        overdue_s=max(0.0, now - min(due)) if due else 0.0,
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
