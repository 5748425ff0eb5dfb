"""One callback followed by its trace id through every real process: in the logs, in the store, and as spans."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deedbox.shared.redis.embedded import free_port
from tests.e2e.running import COMMAND, Running, environment, until
from tests.e2e.test_up import KEY, _callback_url
from tests.support.otlp import Collector, Seen

pytestmark = [pytest.mark.e2e, pytest.mark.real_redis]


ACTIONS = """
import logging, structlog
from deedbox.workers.actions import action

@action("deedbox.document_stored")
def file_it(event, context):
    structlog.get_logger("myapp").warning("filing", parent=context.traceparent)
    logging.getLogger("myapp").warning("filed")
"""


@dataclass
class Course:
    """What one run left."""

    folder: Path
    lines: list[dict[str, Any]]
    collector: Collector

    def of(self, trace_id: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line.get("trace_id") == trace_id]

    def stored(self) -> list[str]:
        """Return the trace ids of the callbacks whose documents were stored."""
        return [line["trace_id"] for line in self.lines if line["event"] == "document.stored"]


def _lines(up: Running) -> list[dict[str, Any]]:
    rows = [line for line in up.err.splitlines() if line.startswith("{")]
    return [json.loads(row) for row in rows]


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Course]:
    """Play four requests through ``up`` with everything on, and stop it."""
    folder, port = tmp_path_factory.mktemp("traced"), free_port()
    (folder / "myapp.py").write_text(ACTIONS, encoding="utf-8")
    with Collector() as collector:
        up = Running(
            folder, "up", DEEDBOX_ACTIONS="myapp", DEEDBOX_API_KEYS=KEY, DEEDBOX_HOLD_S="1", DEEDBOX_OTEL="on",
            DEEDBOX_API_URL=f"http://127.0.0.1:{port}/v3", DEEDBOX_LOG_FORMAT="json",
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
        )  # fmt: skip
        try:
            up.says("Deedbox is ready.")
            command = (
                *(str(COMMAND), "simulate", "--url", _callback_url(up), "--json", "--api-port", str(port)),
                *("--requests", "4", "--rate", "40", "--seed", "3", "--delay", "0.3"),
            )
            simulated = subprocess.Popen(
                command, env=environment(DEEDBOX_API_KEYS=KEY), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )  # fmt: skip
            try:
                until(lambda: up.err.count('"filed"') >= 1, "a document was filed")
            finally:
                simulated.terminate()
                simulated.wait()
            up.interrupt()
            assert up.wait() == 0
        finally:
            up.close()
        yield Course(folder, _lines(up), collector)


def test_one_trace_id_leads_from_the_receipt_of_a_callback_to_its_document(course: Course) -> None:
    trace_id = course.stored()[0]
    lines = course.of(trace_id)

    hops = [(line["process"], line["event"], line.get("action")) for line in lines]
    for hop in [
        ("web", "event.received", None), ("bridge", "event.bridged", None), ("worker", "event.sequenced", None),
        ("worker", "action.finished", "track_status"), ("worker", "document.stored", None),
        ("worker", "action.finished", "fetch_documents"), ("worker", "action.finished", "myapp.file_it"),
    ]:  # fmt: skip
        assert hop in hops
    sidecars = [json.loads(path.read_text("utf-8")) for path in course.folder.rglob("documents/**/*.json")]
    assert trace_id in {sidecar["trace_id"] for sidecar in sidecars}


def test_what_an_action_and_its_libraries_log_carries_the_trace_id(course: Course) -> None:
    said = {
        (line["event"], line.get("trace_id")) for line in course.lines if line["event"] in {"filing", "filed"}
    }

    assert {event for event, _ in said} == {"filing", "filed"}
    assert {trace_id for _, trace_id in said} <= set(course.stored())


def test_no_log_line_and_no_span_names_a_signer_or_holds_a_key(course: Course) -> None:
    told = json.dumps(course.lines).encode() + b"".join(course.collector.bodies)

    assert b"@example" not in told
    assert KEY.encode() not in told


def _above(trace: list[Seen], span: Seen) -> list[str]:
    """Return the names from a span up to the root. Whether it was held on the way is chance."""
    names = [span.name]
    by_id = {each.span_id: each for each in trace}
    while span.parent_id:
        span = by_id[span.parent_id]
        names.append(span.name.replace("sequencer.held", "sequencer.release"))
    return names


def test_the_spans_of_a_callback_are_one_tree_from_ingress_to_the_last_action(course: Course) -> None:
    trace = course.collector.traces()[course.stored()[0]]
    path = ["sequencer.release", "bridge.move", "broker.publish", "ingress.receive"]

    called = {
        str(span.attributes["deedbox.action"]): _above(trace, span)
        for span in trace
        if span.name == "action.call"
    }

    assert called["track_status"][-5:] == ["action.call", *path]
    assert called["fetch_documents"] == ["action.call", *path]
    assert called["myapp.file_it"] == ["action.call", "action.call", *path]
    assert {span.process for span in trace} == {"web", "bridge", "worker"}


def test_every_span_that_was_sent_has_its_parent(course: Course) -> None:
    for trace in course.collector.traces().values():
        known = {span.span_id for span in trace}
        assert {span.parent_id for span in trace} <= {*known, ""}
        assert sum(not span.parent_id for span in trace) == 1


def test_an_action_is_told_the_context_of_its_own_span(course: Course) -> None:
    line = next(line for line in course.lines if line["event"] == "filing")
    version, trace_id, span_id, flags = line["parent"].split("-")
    span = next(each for each in course.collector.spans if each.span_id == span_id)

    assert (version, trace_id, flags) == ("00", line["trace_id"], "01")
    assert span.attributes["deedbox.action"] == "myapp.file_it"
