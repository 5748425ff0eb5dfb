"""Reports what the sequencer decided about each callback, after its commit: a log line and the end of a span."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from redis import Redis
from redis.exceptions import RedisError

from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.ordering import Decision, Released
from deedbox.shared.core.reasons import ArrivalVerdict
from deedbox.shared.core.values import value
from deedbox.shared.records.stored_event import HEAD, StoredEvent, present
from deedbox.shared.redis import keys
from deedbox.shared.runtime import logs, telemetry
from deedbox.workers.sequencer.arrivals import Delivered, KnownBody, StreamWork

if TYPE_CHECKING:
    from deedbox.shared.runtime.spans import Span

hops = logs.HopLog("sequencer", "event.sequenced")

Refused = Iterable[tuple[Delivered, ArrivalVerdict]]
"""What was set aside, and why."""


@value
class Judgement:
    """One callback and its outcome."""

    outcome: ArrivalVerdict
    event_type: str
    fingerprint: str
    waited_s: float
    stored: StoredEvent | None
    """None: it was held by an earlier batch, and its facts are in Redis."""


class _Told(NamedTuple):
    """Whose callback it was."""

    source: str | None
    key: str | None
    trace_id: str | None
    span_id: str

    @classmethod
    def of(cls, stored: StoredEvent | None) -> _Told:
        if stored:
            return cls(stored.source, stored.ordering_key, stored.trace_id, stored.span_id)
        return cls(None, None, None, "")


def _line(each: Judgement, about: _Told) -> dict[str, Any]:
    return {
        "outcome": each.outcome.value, "event_type": each.event_type, "source": about.source, "key": about.key,
        "fingerprint": each.fingerprint, "waited_ms": round(each.waited_s * 1000, 1), "trace_id": about.trace_id,
    }  # fmt: skip


@dataclass(slots=True)
class Judgements:
    """Those of one batch. Collects nothing while lines and spans are off."""

    found: list[Judgement] = field(default_factory=list)
    _spans: dict[str, Span] = field(default_factory=dict)
    _wanted: bool = field(default_factory=lambda: telemetry.lines() or telemetry.spans() is not None)

    def begin(self, envelope: Envelope) -> Envelope:
        """Begin the span of a callback; returns the envelope that names it."""
        spans = telemetry.spans()
        if spans is None:
            return envelope
        span = spans.resume("sequencer.release", envelope.trace_id, envelope.span_id)
        if span is None:
            return envelope
        self._spans[span.span_id] = span
        return replace(envelope, span_id=span.span_id)

    def add(
        self, work: StreamWork, fresh: Sequence[Delivered], refused: Refused, decision: Decision, now: float
    ) -> None:  # fmt: skip
        """Note what became of one stream's callbacks."""
        if self._wanted:
            self.found.extend(judged(work, fresh, refused, decision, now))

    def tell(self, redis: Redis) -> None:
        """Write the lines and end the spans; the commit is written."""
        earlier = [each for each in self.found if each.stored is None]
        heads = _heads(redis, earlier) if earlier else {}
        told = [(each, _Told.of(each.stored or heads.get(each.fingerprint))) for each in self.found]
        if telemetry.lines():
            hops.write(_line(each, about) for each, about in told)
        if telemetry.spans() is not None:
            for each, about in told:
                self._end_span(each, about)

    def _end_span(self, each: Judgement, about: _Told) -> None:
        source, key, trace_id, span_id = about
        span = self._spans.pop(span_id, None) if span_id else None
        spans = telemetry.spans()
        if span is None and each.stored is None and spans is not None and trace_id and span_id:
            # Its hold is over: a second span, below the one of its arrival, for as long as it waited.
            span = spans.resume("sequencer.release", trace_id, span_id, time.time() - each.waited_s)
        if span is None:
            return
        if each.outcome not in _RELEASED:
            span.rename(f"sequencer.{each.outcome}")
        span.set(
            outcome=str(each.outcome), event_type=each.event_type, source=source, ordering_key=key,
            waited_s=each.waited_s,
        )  # fmt: skip
        span.end()


_RELEASED = frozenset({ArrivalVerdict.RELEASED, ArrivalVerdict.LATE})


def judged(
    work: StreamWork, fresh: Sequence[Delivered], refused: Refused, decision: Decision, now: float
) -> Iterator[Judgement]:
    """Say what became of each callback of a batch, and of those that earlier batches held. Pure."""
    released = {each.arrival.fingerprint: each for each in decision.release}
    first = dict(work.known)
    for place, each in enumerate(fresh):
        fingerprint = each.fact.fingerprint
        if place in decision.stood_for:
            yield _of(each, ArrivalVerdict.DUPLICATE, 0.0)
            continue
        known = first.get(fingerprint)
        if known is not None:
            outcome = ArrivalVerdict.DUPLICATE if known.is_same(each.stored) else ArrivalVerdict.CONFLICT
            yield _of(each, outcome, 0.0)
            continue
        first[fingerprint] = KnownBody.of(each.stored)
        mine = released.pop(fingerprint, None)
        if mine is None:
            yield _of(each, ArrivalVerdict.HELD, 0.0)
        else:
            yield _of(each, _outcome(mine), max(0.0, now - mine.since))
    for each, verdict in refused:
        yield _of(each, verdict, 0.0)
    for left in released.values():
        arrival = left.arrival
        yield Judgement(_outcome(left), arrival.type, arrival.fingerprint, max(0.0, now - left.since), None)


def _outcome(released: Released) -> ArrivalVerdict:
    return ArrivalVerdict.LATE if released.late else ArrivalVerdict.RELEASED


def _of(each: Delivered, outcome: ArrivalVerdict, waited_s: float) -> Judgement:
    stored = each.stored
    return Judgement(outcome, stored.event_type, stored.fingerprint, waited_s, stored)


def _heads(redis: Redis, judgements: Sequence[Judgement]) -> dict[str, StoredEvent]:
    """Read the facts of events that earlier batches held; without an answer their lines say less."""
    pipeline = redis.pipeline(transaction=False)
    for each in judgements:
        pipeline.hmget(keys.event(each.fingerprint), HEAD)
    try:
        rows = pipeline.execute()
    except RedisError:
        return {}
    found: dict[str, StoredEvent] = {}
    for each, packed in zip(judgements, rows, strict=True):
        head = StoredEvent.load(each.fingerprint, present(packed))
        if head:
            found[each.fingerprint] = head
    return found
