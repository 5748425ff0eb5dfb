"""What each hop leaves behind, without processes: lines after the commit, spans with the right parents."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import structlog
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from redis import Redis
from structlog.testing import capture_logs

from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.errors import SettingsError
from deedbox.shared.core.ordering import OrderingPolicy
from deedbox.shared.redis import inbox
from deedbox.shared.redis.scripting import Scripts
from deedbox.shared.runtime import telemetry
from deedbox.shared.runtime.spans import Spans
from deedbox.shared.settings import Settings
from deedbox.workers.actions import Context, Event, Retry
from deedbox.workers.bridge import bridge
from deedbox.workers.sequencer.shard_claim import ShardClaim
from tests.component.workers.rig import (
    TRACE,
    Deployment,
    Journal,
    P,
    action,
    callback,
    envelope,
    sent,
    silent,
    viewed,
)

pytestmark = pytest.mark.real_redis

SPAN = "b" * 16


@pytest.fixture(autouse=True)
def audible(quiet: None) -> Iterator[None]:  # noqa: ARG001 - undone here
    """Let lines of ordinary work through, and leave the process as it was."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    yield
    telemetry.configure(Settings.load({}), "test")


@pytest.fixture
def spans() -> InMemorySpanExporter:
    """Keep the spans of this process."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    telemetry.install(Spans(provider))
    return exporter


def traced(body: bytes) -> Envelope:
    return replace(envelope(body), span_id=SPAN)


def deliver(deployment: Deployment, *envelopes: Envelope) -> None:
    """Put envelopes into the inbox as the bridge does, its report included."""
    load = inbox.Load()
    for each in envelopes:
        load.add(each)
    bridge.report(load, silent, ring=inbox.append(deployment.scripts, load))


def sequenced(lines: list[Any]) -> list[tuple[str, str, str]]:
    return [
        (line["event_type"].removeprefix(P), line["outcome"], line["trace_id"])
        for line in lines
        if line["event"] == "event.sequenced"
    ]


def named(exporter: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [span for span in exporter.get_finished_spans() if span.name == name]


def parent(span: ReadableSpan) -> str:
    assert span.parent is not None
    return f"{span.parent.span_id:016x}"


def own(span: ReadableSpan) -> str:
    return f"{span.context.span_id:016x}"


def test_every_callback_gets_one_line_that_says_what_became_of_it(state: Redis) -> None:
    deployment = Deployment(state, action(Journal()), order=OrderingPolicy(hold_s=60))
    body = viewed(5)
    with capture_logs() as lines:
        deliver(deployment, envelope(body))
        deployment.drain()
        deliver(deployment, envelope(sent()), envelope(body), envelope(viewed(5, title="another body")))
        deployment.drain()
        deliver(deployment, envelope(viewed(2)))
        deployment.drain()

    first, *together, last = sequenced(lines)
    assert first == ("viewed", "held", TRACE)
    assert sorted(together) == [
        ("sent", "released", TRACE), ("viewed", "conflict", TRACE), ("viewed", "duplicate", TRACE),
        ("viewed", "released", TRACE),
    ]  # fmt: skip
    assert last == ("viewed", "late", TRACE)
    assert [line["trace_id"] for line in lines if line["event"] == "event.bridged"] == [TRACE] * 5


def test_a_batch_that_was_taken_over_is_told_by_whoever_commits_it(state: Redis) -> None:
    deployment = Deployment(state, action(Journal()))
    entry = b"%.6f\n" % time.time() + envelope(sent()).pack()
    batch = ShardClaim("0", "a token that was superseded", time.time(), [entry], [])
    with capture_logs() as lines:
        deployment.sequencer.commit(batch)

    assert [line["event"] for line in lines] == ["sequencer.fenced"]


def test_with_hop_lines_off_only_trouble_is_told(state: Redis) -> None:
    def failing(event: Event, _context: Context) -> None:
        if event.type == P + "viewed":
            raise RuntimeError

    telemetry.configure(Settings.load({"DEEDBOX_LOG_HOPS": "off"}), "test")
    deployment = Deployment(state, action(failing))
    with capture_logs() as lines:
        deliver(deployment, envelope(sent()), envelope(viewed(5)))
        deployment.run()

    assert [(line["event"], line["outcome"]) for line in lines] == [("action.finished", "error")]


def test_each_hop_is_a_child_of_the_one_before(state: Redis, spans: InMemorySpanExporter) -> None:
    def act(event: Event, context: Context) -> None:
        if event.type == P + "sent":
            context.emit("deedbox.told", {"of": "sent"})

    deployment = Deployment(state, action(act, "*", "deedbox.*"))
    deliver(deployment, traced(sent()))
    deployment.run()
    deployment.run()

    moved, released = named(spans, "bridge.move")[0], named(spans, "sequencer.release")[0]
    first, told = named(spans, "action.call")
    assert parent(moved) == SPAN
    assert parent(released) == own(moved)
    assert parent(first) == own(released)
    assert parent(told) == own(first)
    assert {f"{span.context.trace_id:032x}" for span in spans.get_finished_spans()} == {TRACE}


def test_a_hold_shows_as_a_span_of_its_own(state: Redis, spans: InMemorySpanExporter) -> None:
    deployment = Deployment(state, action(Journal()), order=OrderingPolicy(hold_s=60))
    deliver(deployment, traced(viewed(5)))
    deployment.drain()
    deliver(deployment, traced(sent()))
    deployment.run()

    (held,) = named(spans, "sequencer.held")
    waited = [span for span in named(spans, "sequencer.release") if parent(span) == own(held)]
    calls = [span for span in named(spans, "action.call") if parent(span) == own(held)]
    assert len(waited) == len(calls) == 1


def test_a_span_says_that_a_call_failed_and_not_what_the_error_said(
    state: Redis, spans: InMemorySpanExporter
) -> None:
    def failing(_event: Event, _context: Context) -> None:
        raise RuntimeError("jack@example.com")

    deployment = Deployment(state, action(failing))
    deliver(deployment, traced(sent(title="Lease of jack@example.com")))
    deployment.run()

    (call,) = named(spans, "action.call")
    assert call.status.description == "RuntimeError"
    assert not call.status.is_ok
    assert "jack" not in "".join(span.to_json() for span in spans.get_finished_spans())


def test_a_callback_received_without_tracing_is_not_traced_later(
    state: Redis, spans: InMemorySpanExporter
) -> None:
    journal = Journal()
    deployment = Deployment(state, action(journal))
    deliver(
        deployment, envelope(sent()), replace(envelope(viewed(5)), span_id="no span", trace_id="no trace")
    )
    deployment.run()

    assert journal.types() == ["sent", "viewed"]
    assert spans.get_finished_spans() == ()


def test_what_ingress_does_not_sample_nobody_records(spans: InMemorySpanExporter) -> None:
    receiving = Spans(TracerProvider(sampler=ALWAYS_OFF)).receive(None)

    assert receiving.child("broker.publish").span_id == ""
    assert len(receiving.trace_id) == 32
    assert spans.get_finished_spans() == ()


def test_a_valid_traceparent_is_continued_and_an_ill_formed_one_ignored() -> None:
    receive = Spans(TracerProvider()).receive
    good = f"00-{TRACE}-{SPAN}-01"

    assert receive(good).trace_id == TRACE
    assert receive(good[:-4]).trace_id != TRACE
    assert receive(f"00-{'0' * 32}-{SPAN}-01").trace_id != "0" * 32


def test_a_callback_that_is_not_traced_carries_nothing_more_than_before() -> None:
    assert "span_id" not in envelope(sent()).headers()
    assert Envelope.unpack(envelope(sent()).pack()).span_id == ""
    assert Envelope.unpack(traced(sent()).pack()).span_id == SPAN


def test_the_queue_entry_of_a_redrive_keeps_the_span(state: Redis) -> None:
    load = inbox.Load()
    wrapped = traced(b"no JSON")
    load.add(wrapped)
    inbox.append(Scripts(state), load)
    deployment = Deployment(state)
    deployment.drain()

    assert SPAN.encode() in deployment.letters()[0]["raw"]


def test_opentelemetry_that_is_wanted_and_missing_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    telemetry.install(None)
    for name in [
        name
        for name in sys.modules
        if name == "deedbox.shared.runtime.spans" or name.startswith("opentelemetry")
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)

    with pytest.raises(SettingsError, match=r"pip install 'deedbox\[otel\]'"):
        telemetry.configure(Settings.load({"DEEDBOX_OTEL": "on"}), "web")


def test_a_wait_for_later_is_no_failure_of_the_span_that_a_person_must_see(
    state: Redis, spans: InMemorySpanExporter
) -> None:
    def waiting(_event: Event, _context: Context) -> None:
        raise Retry("later", after=60)

    deployment = Deployment(state, action(waiting))
    deliver(deployment, traced(callback(P + "sent")))
    deployment.run()

    (call,) = named(spans, "action.call")
    assert call.attributes is not None
    assert call.attributes["deedbox.outcome"] == "retry"
    assert call.status.description is None
