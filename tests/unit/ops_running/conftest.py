"""A run in which everything went well, as values: each test spoils one thing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from deedbox.ops.demo.evidence import RecordedCall, Traces
from deedbox.ops.demo.report import DemoFindings, Sent
from deedbox.shared.core.reasons import TimelineKind
from deedbox.shared.simulator.ledger import Counts
from deedbox.shared.simulator.lifecycle import SimulatedFact

CLEAN = Counts(planned=5, sent=5, attempts=6, acked=4, refused=1, forgeries_acked=0, failed=0, unfinished=0)
KEY = "default:signature_request/r1"
SHA = "5e" * 32

MakeCall = Callable[..., RecordedCall]


@pytest.fixture
def call() -> MakeCall:
    """Make a recorded call: ``call(time, event_type, late=..., number=...)``."""

    def make(time: int, event_type: str = "viewed", number: int = 0, **changes: Any) -> RecordedCall:
        made = RecordedCall(
            idempotency_key=f"{time:031d}{number}:record",
            type=f"signature_request_{event_type}",
            time=time,
            key=KEY,
            signature_request_id="r1",
            related_signature_id="",
            late=False,
            body_signature="valid",
        )
        return replace(made, **changes)

    return make


@pytest.fixture
def stored(call: MakeCall) -> RecordedCall:
    return call(99, type="deedbox.document_stored", sha256=SHA)


@pytest.fixture
def sent(call: MakeCall) -> Sent:
    facts = [call(10, "sent").fact, call(20, "signed").fact, call(20, "all_signed").fact]
    return Sent(
        requests=1,
        seed=1,
        counts=CLEAN,
        forgeries=1,
        scheduled=frozenset(facts),
        acked={fact: fingerprint(fact) for fact in facts},
        redundant_acks=1,
        documents={"r1": SHA},
    )


def fingerprint(fact: SimulatedFact) -> str:
    """Return any name that is the fact's own."""
    return f"{fact.event_time:031d}0"


@pytest.fixture
def found(call: MakeCall, stored: RecordedCall) -> DemoFindings:
    calls = [call(10, "sent"), call(20, "signed"), call(20, "all_signed", number=1), stored]
    traces = Traces(
        counters={"arrived": 4, "released": 3, "duplicate": 1},
        timeline={str(kind): 0 for kind in TimelineKind} | {"arrived": 4, "released": 3, "duplicate": 1},
        actions_done=7,
        forgotten=0,
        dead=(),
    )
    return DemoFindings(calls=calls, traces=traces, documents={"r1": [SHA]}, restarts={})
