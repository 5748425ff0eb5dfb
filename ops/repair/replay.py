"""Replays the past: chosen actions run again on stored events, each with an idempotency key of this replay.

A replay has a number. It goes stream by stream, in position order, to the ends of the actions' queues. The script
call that appends also writes how far the replay came. So ``resume`` continues there after an interruption, and appends
nothing twice. A new replay of the same events has another number. For the actions' own deduplication it is another run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias

from deedbox.ops.repair.history import History, Past, PastEvent
from deedbox.ops.repair.progress import Tell, unheard
from deedbox.ops.repair.replay_plan import ReplayPlan, ReplayTally, is_late, wanted
from deedbox.shared.archives import reading as archives
from deedbox.shared.archives.restoring import restore
from deedbox.shared.core.attempts import QueueEntry
from deedbox.shared.core.errors import DeedboxError
from deedbox.shared.core.ordering import Position
from deedbox.shared.records import order_state, queue_entry, replay_order
from deedbox.shared.records.replay_order import ReplayOrder
from deedbox.shared.records.subscriptions import Subscription, announced
from deedbox.shared.redis import keys, repair_calls
from deedbox.shared.redis.connections import translating
from deedbox.shared.redis.request_keys import Holdings
from deedbox.shared.redis.scripting import Scripts
from deedbox.shared.retention import Retention

PIECE: Final = 200
"""Calls of actions that one script call appends: few ms, in which Redis answers no other client."""

Wanted: TypeAlias = tuple[PastEvent, Sequence[Subscription]]


def _piece(left: Sequence[Wanted]) -> Sequence[Wanted]:
    """Return the next events: together at most ``PIECE`` calls, and at least one event."""
    calls = 0
    for number, (_, actions) in enumerate(left):
        calls += len(actions)
        if number and calls > PIECE:
            return left[:number]
    return left


class Replayer:
    """Plans and carries out replays. Every method raises Unavailable if Redis does not answer."""

    def __init__(
        self,
        scripts: Scripts,
        ring: Callable[[str], None],
        retention: Retention = Retention(),  # noqa: B008 - frozen
    ) -> None:
        self._scripts = scripts
        self._retention = retention
        self._redis = scripts.redis
        self._ring = ring
        self.history = History(scripts.redis)

    @translating()
    def unfinished(self, number: int) -> ReplayOrder:
        """Return the order of a replay that was interrupted. Raises DeedboxError if there is no such one."""
        found: Any = self._redis.get(keys.replay(number))
        if found is None:
            others = ", ".join(map(str, Holdings(self._redis).unfinished_replays())) or "none"
            raise DeedboxError(f"There is no interrupted replay {number}; the interrupted ones: {others}.")
        order = ReplayOrder.load(found)
        if not order:
            raise DeedboxError(f"What replay {number} was asked for cannot be read; begin a new one.")
        return order

    @translating()
    def plan(
        self, order: ReplayOrder, actions: Sequence[Subscription], tell: Tell = unheard, *, number: int = 0
    ) -> ReplayPlan:
        """Find out what a replay would do, or what is left of replay ``number``."""
        lanes = announced(self._redis).lane_of
        chosen = tuple(replace(action, lane=lanes.get(action.name, action.lane)) for action in actions)
        plan = ReplayPlan(order, chosen, number)
        streams = self._streams(order, tell)
        for index, stream in enumerate(streams):
            tell("counting", index, len(streams))
            if self._is_erased(stream):
                plan.erased += 1
                continue
            past = self.history.past(stream, order.span)
            plan.expired += past.expired
            plan.held += past.held
            plan.aside += past.aside
            self._count(plan, stream, past)
        return plan

    @translating()
    def carry_out(
        self, plan: ReplayPlan, tell: Tell = unheard, started: Callable[[int], object] = int
    ) -> ReplayTally:
        """Append what was planned and ring the lanes that need it. ``started`` is told the replay's number."""
        number = plan.number or self._start(plan.order)
        started(number)
        tally = ReplayTally(number)
        for index, stream in enumerate(plan.streams):
            tell("replaying", index, len(plan.streams))
            if not self._replay(plan, stream, tally):
                raise DeedboxError(
                    f"Replay {number} was finished or forgotten meanwhile; nothing is left to do."
                )
        self._redis.unlink(keys.replay(number), keys.replay_done(number))
        return tally

    def _streams(self, order: ReplayOrder, tell: Tell) -> list[str]:
        if order.key:
            return [f"{order.source}:{order.key}"]
        return self.history.streams(order.source, order.span, tell)

    def _count(self, plan: ReplayPlan, stream: str, past: Past) -> None:
        done = self._done(plan.number, stream)
        greatest = self._greatest(stream)
        units: dict[str, list[str]] = {action.name: [] for action in plan.actions}
        for event, actions in wanted(plan, past.events, done):
            plan.events += 1
            plan.late += is_late(event, greatest)
            plan.first_at = min(event.arrived_at, plan.first_at or event.arrived_at)
            plan.last_at = max(event.arrived_at, plan.last_at or event.arrived_at)
            for action in actions:
                plan.runs[action.name] += 1
                units[action.name].append(action.unit(stream, event.fingerprint))
        if any(units.values()):
            plan.streams.append(stream)
            plan.waiting.update(self._waiting(units))

    def _waiting(self, units: Mapping[str, Iterable[str]]) -> Counter[str]:
        pipe = self._redis.pipeline(transaction=False)
        named = [(action, unit) for action, names in units.items() for unit in dict.fromkeys(names)]
        for _, unit in named:
            pipe.llen(keys.queue(unit))
        found: Counter[str] = Counter()
        for (action, _), length in zip(named, pipe.execute(), strict=True):
            found[action] += length
        return found

    def _start(self, order: ReplayOrder) -> int:
        number = int(self._redis.incr(keys.REPLAY_SEQ))
        # After that, the events that it has not reached are gone too.
        self._redis.set(keys.replay(number), order.dump(), ex=self._retention.events_s)
        return number

    def _replay(self, plan: ReplayPlan, stream: str, tally: ReplayTally) -> bool:
        """Append what is left of a stream. Returns False if the whole replay is over."""
        events = self.history.past(stream, plan.order.span).events
        greatest = self._greatest(stream)
        mark = self._mark(tally.number, stream)
        left = list(wanted(plan, events, _position(mark)))
        if not left and self._is_erased(stream):
            tally.erased += 1
        while left:
            restore(self._scripts, (stream,))
            piece = _piece(left)
            last = replay_order.dump_mark(piece[-1][0].position)
            gone, lanes = repair_calls.replay(
                self._scripts, number=tally.number, retention=self._retention, stream=stream, done=mark, then_done=last,
                calls=self._calls(stream, piece, tally.number, greatest),
            )  # fmt: skip
            if gone == _OVER:
                return False
            if gone == _ERASED:
                tally.erased += 1
                return True
            if gone == _OVERTAKEN:  # another operator resumed the same replay
                mark = self._mark(tally.number, stream)
                left = list(wanted(plan, events, _position(mark)))
                continue
            if gone == _ARCHIVED:  # between this loop's two calls
                continue
            mark, left = last, left[len(piece) :]
            tally.gone += gone
            tally.appended += sum(len(actions) for _, actions in piece)
            for lane in lanes:
                self._ring(lane.decode())
        return True

    def _calls(
        self,
        stream: str,
        piece: Iterable[Wanted],
        number: int,
        greatest: Position | None,
    ) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
        seconds, microseconds = self._redis.time()
        now = round(seconds + microseconds / 1_000_000, 6)
        for event, actions in piece:
            late = is_late(event, greatest)
            entry = queue_entry.dump(QueueEntry(event.fingerprint, enqueued_at=now, late=late, replay=number))
            calls = [(each.lane, each.unit(stream, event.fingerprint), entry) for each in actions]
            yield event.fingerprint, calls

    def _mark(self, number: int, stream: str) -> bytes:
        found: Any = self._redis.hget(keys.replay_done(number), stream)
        return found or b""

    def _done(self, number: int, stream: str) -> Position | None:
        return _position(self._mark(number, stream)) if number else None

    def _greatest(self, stream: str) -> Position | None:
        [[packed]] = archives.values(self._redis, (stream,), "order")
        state = order_state.load(packed) if packed else None
        return state.greatest if state else None

    def _is_erased(self, stream: str) -> bool:
        return bool(self._redis.exists(keys.erased(stream)))


_OVERTAKEN: Final = -1
_OVER: Final = -2
_ERASED: Final = -3
_ARCHIVED: Final = -4


def _position(mark: bytes) -> Position | None:
    """Read how far a stream came; one that cannot be read is replayed from its beginning, with the same keys."""
    return (replay_order.load_mark(mark) or None) if mark else None
