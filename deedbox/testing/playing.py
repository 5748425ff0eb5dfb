"""Callbacks through the real deduplication, ordering and retries, in memory, on a clock of its own.

The pure core decides, as it does in the sequencer and the lanes; only storage and processes are left out. Two callbacks that
Redis would hold for thirty seconds take no time here.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any, Final

from deedbox.shared.core.attempts import Again, QueueEntry
from deedbox.shared.core.ordering import OrderingPolicy, Released, SequenceState, pass_through, step
from deedbox.shared.records.stored_event import StoredEvent
from deedbox.testing.callbacks import Callback, seen
from deedbox.testing.running import Outcome, Ran, call, declared_by
from deedbox.workers.actions.interface import ActionFunction, Event
from deedbox.workers.actions.loading import collect
from deedbox.workers.actions.registry import RegisteredAction, Registry
from deedbox.workers.internal_events import internal_event
from deedbox.workers.lanes.recall import snapshots

CALLS_MAX: Final = 10_000
"""An action that raises ``Retry`` for ever is called for three days, maybe every second."""


@dataclass(frozen=True)
class Call:
    """One call of an action."""

    action: str
    event: Event
    ran: Ran
    at: float
    """Unix seconds, by the clock of ``play``."""
    attempt: int

    @property
    def outcome(self) -> Outcome:
        """How it ended."""
        return self.ran.outcome

    def __str__(self) -> str:
        late = ", late" if self.event.late else ""
        why = self.ran.reason or (repr(self.ran.error) if self.ran.error else "")
        return (
            f"{self.event.type}{late} -> {self.action}, attempt {self.attempt}: {self.outcome} {why}".rstrip()
        )


def play(
    callbacks: Iterable[Callback], actions: ActionFunction | ModuleType | Iterable[ActionFunction]
) -> list[Call]:
    """Deliver callbacks, each at its ``received_at``, and return the calls in the order in which they were made.

    ``actions``: functions, or a module with ``@action`` functions. Raises NotVerified for a callback that Deedbox would
    refuse. For the main thread only.
    """
    player = _Player(_registry(actions))
    for each in callbacks:
        player.at(each.received_at, player.deliver, each)
    player.play()
    return player.calls


def _registry(actions: ActionFunction | ModuleType | Iterable[ActionFunction]) -> Registry:
    if isinstance(actions, ModuleType):
        return Registry(collect(actions))
    given: Iterable[ActionFunction] = [actions] if callable(actions) else actions
    return Registry(each for function in given for each in declared_by(function))


@dataclass
class _Stream:
    """What Redis would hold of one ordering key."""

    ordered: bool
    state: SequenceState = field(default_factory=SequenceState)
    stored: dict[str, StoredEvent] = field(default_factory=dict)


class _Player:
    """Sequencer, queues and clock."""

    def __init__(self, registry: Registry) -> None:
        self.calls: list[Call] = []
        self._registry = registry
        self._policy = OrderingPolicy()
        self._agenda: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._numbers = itertools.count()
        self._streams: dict[str, _Stream] = {}
        self._queues: dict[str, deque[QueueEntry]] = {}

    def at(self, when: float, what: Callable[..., None], *arguments: Any) -> None:
        """Put something on the agenda; what is due at one time happens in the order in which it was put there."""
        heapq.heappush(self._agenda, (when, next(self._numbers), what, arguments))

    def play(self) -> None:
        """Do what is due until nothing is."""
        while self._agenda:
            now, _, what, arguments = heapq.heappop(self._agenda)
            what(now, *arguments)

    def deliver(self, now: float, each: Callback) -> None:
        """Take one delivery, as the sequencer does."""
        arrived = each.identified()
        stream = self._streams.setdefault(arrived.fact.stream, _Stream(arrived.fact.key.ordered))
        known = set(stream.stored)
        before = stream.stored.get(arrived.fact.fingerprint)
        if before is None or arrived.stored.trust > before.trust:
            stream.stored[arrived.fact.fingerprint] = arrived.stored
        if not stream.ordered:
            self._release(stream, pass_through([(arrived.arrival, now)], known).release, now)
            return
        self._step(stream, [(arrived.arrival, now)], now, known)

    def _look(self, now: float, stream: _Stream) -> None:
        """See whether a hold is over."""
        self._step(stream, [], now, set(stream.stored))

    def _step(self, stream: _Stream, arrivals: list[Any], now: float, known: set[str]) -> None:
        decision = step(stream.state, arrivals, now, self._policy, known)
        stream.state = decision.state
        self._release(stream, decision.release, now)
        if decision.wake_at is not None:
            self.at(decision.wake_at, self._look, stream)

    def _release(self, stream: _Stream, released: Iterable[Released], now: float) -> None:
        for each in released:
            self._enqueue(stream, stream.stored[each.arrival.fingerprint], now, late=each.late)

    def _enqueue(self, stream: _Stream, stored: StoredEvent, now: float, *, late: bool = False) -> None:
        for action in self._registry.subscribed(stored.event_type):
            unit = action.unit(stored.stream, stored.fingerprint)
            queue = self._queues.setdefault(unit, deque())
            queue.append(QueueEntry(stored.fingerprint, now, late=late))
            if len(queue) == 1:
                self.at(now, self._call_head, unit, action, stream)

    def _call_head(self, now: float, unit: str, action: RegisteredAction, stream: _Stream) -> None:
        if len(self.calls) >= CALLS_MAX:
            raise RuntimeError(f"play made {CALLS_MAX} calls; does an action raise Retry for ever?")
        queue = self._queues[unit]
        entry = queue[0]
        stored = stream.stored[entry.fingerprint]

        def recall() -> list[Mapping[str, Any]]:
            return snapshots(stream.stored.values())

        event = seen(stored, late=entry.late, recall=recall)
        ran, verdict = call(action, event, entry, now)
        self.calls.append(Call(action.name, event, ran, now, entry.attempt))
        for event_type, payload in ran.emitted:
            made = internal_event(
                event_type, payload, stored.source, stored.ordering_key, stored.trace_id, now
            )
            if made.fingerprint not in stream.stored:
                stream.stored[made.fingerprint] = made
                self._enqueue(stream, made, now)
        if isinstance(verdict, Again):
            queue[0] = replace(verdict.entry)
            self.at(now + verdict.after_s, self._call_head, unit, action, stream)
            return
        queue.popleft()
        if queue:
            self.at(now, self._call_head, unit, action, stream)
