"""The verdict on a demo: pure functions from what was sent and what was found to a report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from deedbox.ops.demo.evidence import RecordedCall, Traces
from deedbox.shared.core.ordering import Position
from deedbox.shared.core.reasons import ArrivalVerdict
from deedbox.shared.simulator.ledger import Counts
from deedbox.shared.simulator.lifecycle import SimulatedFact

RECORDER: Final = "record"
"""Name of the action whose calls are the evidence (workers/builtins/recorder.py)."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What the sender knows."""

    requests: int
    seed: int
    counts: Counts
    forgeries: int
    """Deliveries with a forged signature in the schedule."""
    scheduled: frozenset[SimulatedFact]
    acked: Mapping[SimulatedFact, str]
    """Acknowledged facts, with the fingerprint that the pipeline gives them."""
    redundant_acks: int
    """Acknowledged deliveries beyond the first of each fact: so many duplicates at least."""
    documents: Mapping[str, str]
    """Signature request id -> SHA-256 of the final document of each completed request."""
    put_off: int = 0
    """Calls of the files API that were answered with "not ready" (409) or "too many" (429)."""


@dataclass(frozen=True, slots=True)
class DemoFindings:
    """What the receiving side left behind."""

    calls: Sequence[RecordedCall]
    traces: Traces
    documents: Mapping[str, Sequence[str]]
    """Signature request id -> SHA-256 of each file in the store."""
    restarts: Mapping[str, int]
    """Process -> how often it ended and was started again."""
    unfinished: str = ""
    """What was still under way when the waiting ended; empty: nothing."""
    duration_s: float = 0.0


@dataclass(frozen=True, slots=True)
class DemoReport:
    """The verdict. ``problems`` empty: every promise was kept."""

    sent: Sent
    found: DemoFindings
    lost: int
    order_violations: int
    twice: int
    """Facts dispatched under more than one idempotency key."""
    repeated: int
    """Calls that a crash repeated, with the same idempotency key."""
    problems: tuple[str, ...]

    @property
    def clean(self) -> bool:
        """Whether everything that was promised holds."""
        return not self.problems

    @property
    def held(self) -> int:
        return self.found.traces.timeline["held"]

    @property
    def late(self) -> int:
        return self.found.traces.timeline["late"]

    @property
    def duplicates(self) -> int:
        return self.found.traces.timeline["duplicate"] + self.found.traces.timeline["conflict"]

    def documents(self) -> list[dict[str, str]]:
        """List every document in the store, by signature request."""
        return [
            {"signature_request_id": request_id, "sha256": digest}
            for request_id, digests in sorted(self.found.documents.items())
            for digest in digests
        ]

    def as_json(self) -> dict[str, Any]:
        """Return the object that ``demo --json`` ends with."""
        return {
            "sent": self.sent.counts.sent,
            "acked": self.sent.counts.acked,
            "refused": self.sent.counts.refused,
            "duplicates": self.duplicates,
            "held": self.held,
            "late": self.late,
            "actions": self.found.traces.actions_done,
            "documents": self.documents(),
            "order_violations": self.order_violations,
            "lost": self.lost,
            "requests": self.sent.requests,
            "seed": self.sent.seed,
            "facts": len(self.sent.acked),
            "dispatched_twice": self.twice,
            "repeated_calls": self.repeated,
            "dead": len(self.found.traces.dead),
            "restarts": dict(self.found.restarts),
            "duration_s": round(self.found.duration_s, 1),
            "clean": self.clean,
            "problems": list(self.problems),
        }


def judge(sent: Sent, found: DemoFindings) -> DemoReport:
    """Compare both sides."""
    facts = [call for call in found.calls if not call.internal]
    recorded = {call.fact for call in facts}
    # A letter without an action is about the whole event; one of another action excuses nothing.
    buried = {
        letter.get("event") for letter in found.traces.dead if letter.get("action", RECORDER) == RECORDER
    }
    lost = [
        fact for fact, fingerprint in sent.acked.items() if fact not in recorded and fingerprint not in buried
    ]
    violations = out_of_order(facts)
    twice = dispatched_twice(facts)
    keys = [call.idempotency_key for call in found.calls]
    problems = (
        *_of_sending(sent),
        *_of_dispatch(sent, found, facts),
        *(
            [f"{len(lost)} acknowledged facts never reached an action, such as {_named(lost[0])}"]
            if lost
            else []
        ),
        *(
            [f"{len(violations)} calls came out of order, such as {_named(violations[0].fact)}"]
            if violations
            else []
        ),
        *([f"{twice} facts were dispatched under two idempotency keys"] if twice else []),
        *_of_counters(sent, found.traces),
        *_of_documents(sent.documents, found),
        *([f"not finished in time: {found.unfinished}"] if found.unfinished else []),
    )
    return DemoReport(sent, found, len(lost), len(violations), twice, len(keys) - len(set(keys)), problems)


def out_of_order(calls: Iterable[RecordedCall]) -> list[RecordedCall]:
    """List calls below the greatest position before them without the late flag, or with it although not below."""
    greatest: dict[str, Position] = {}
    found = []
    for call in calls:
        before = greatest.get(call.key)
        below = before is not None and call.position < before
        if below != call.late:
            found.append(call)
        if not call.late:
            greatest[call.key] = call.position if before is None else max(before, call.position)
    return found


def _named(fact: SimulatedFact) -> str:
    return f"{fact.event_type} of {fact.signature_request_id} at {fact.event_time}"


def dispatched_twice(calls: Iterable[RecordedCall]) -> int:
    """Count facts that reached the action under more than one idempotency key."""
    names: dict[SimulatedFact, set[str]] = {}
    for call in calls:
        names.setdefault(call.fact, set()).add(call.idempotency_key)
    return sum(len(of_one) > 1 for of_one in names.values())


def _of_sending(sent: Sent) -> Iterable[str]:
    counts = sent.counts
    if counts.failed or counts.unfinished:
        yield f"{counts.failed + counts.unfinished} of {counts.planned} deliveries were not settled"
    if counts.forgeries_acked:
        yield f"{counts.forgeries_acked} forged callbacks were acknowledged"
    if counts.refused != sent.forgeries:
        yield f"{counts.refused} of {sent.forgeries} forged callbacks were refused"


def _of_dispatch(sent: Sent, found: DemoFindings, facts: Sequence[RecordedCall]) -> Iterable[str]:
    if unknown := sum(call.fact not in sent.scheduled for call in facts):
        yield f"{unknown} calls were about events that were never sent"
    if unsigned := sum(call.body_signature != "valid" for call in facts):
        yield f"{unsigned} calls had a body that the sender did not sign"
    for letter in found.traces.dead[:5]:
        yield f"dead letter {letter.get('id')}: {letter.get('reason')} ({letter.get('detail', '')})"
    if found.traces.forgotten:
        yield f"{found.traces.forgotten} acknowledged facts are not stored"


def _of_counters(sent: Sent, traces: Traces) -> Iterable[str]:
    """Check our own counters against the timelines and against what the sender knows."""
    counters = traces.counters
    duplicates = counters.get(ArrivalVerdict.DUPLICATE, 0)
    if duplicates < sent.redundant_acks:
        yield f"{duplicates} duplicates were counted, but {sent.redundant_acks} were acknowledged"
    for name in (ArrivalVerdict.DUPLICATE, ArrivalVerdict.HELD, ArrivalVerdict.LATE, ArrivalVerdict.RELEASED):
        lines = traces.timeline[name] + (
            traces.timeline["conflict"] if name is ArrivalVerdict.DUPLICATE else 0
        )
        if counters.get(name, 0) != lines:
            yield f"the counter {name} says {counters.get(name, 0)}, the timelines say {lines}"
    settled = sum(
        counters.get(name, 0)
        for name in (ArrivalVerdict.RELEASED, ArrivalVerdict.LATE, ArrivalVerdict.DUPLICATE)
    )
    if counters.get("arrived", 0) != settled:
        yield f"{counters.get('arrived', 0)} callbacks arrived, but {settled} were released or duplicates"


def _of_documents(expected: Mapping[str, str], found: DemoFindings) -> Iterable[str]:
    announced = {(call.signature_request_id, call.sha256) for call in found.calls if call.sha256}
    missing = [request_id for request_id in expected if request_id not in found.documents]
    if missing:
        yield f"{len(missing)} of {len(expected)} documents are missing, {missing[0]} for one"
    for request_id, digests in found.documents.items():
        if list(digests) != [expected.get(request_id)]:
            yield f"the store holds something else than the final document of {request_id}"
        elif (request_id, digests[0]) not in announced:
            yield f"no action was told about the document of {request_id}"
