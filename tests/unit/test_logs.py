"""The short way for lines about callbacks writes the same lines as structlog does."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from deedbox.shared.runtime import logs
from tests.unit.logging_to import logging_to

FACTS: dict[str, Any] = {"source": "default", "took_ms": 1.5, "cause": None, "status": 200}


class Pipe(io.TextIOWrapper):
    """A stream of text over bytes, as stderr is."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8")

    def getvalue(self) -> str:
        self.flush()
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue().decode()


@pytest.fixture(params=[Pipe, io.StringIO])
def written(request: pytest.FixtureRequest) -> Iterator[Any]:
    stream = request.param()
    with logging_to(stream):
        yield stream


def lines(stream: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_fact_is_the_line_that_structlog_writes(written: Any) -> None:
    with structlog.contextvars.bound_contextvars(job="7", status=0):
        logs.get("ingress").info("event.received", **FACTS)
        logs.fact("ingress", "event.received", **FACTS)
    slow, fast = lines(written)
    assert list(slow) == list(fast)
    assert slow.pop("timestamp")[:13] == fast["timestamp"][:13]
    assert fast.pop("timestamp").endswith("Z")
    assert slow == fast


def test_facts_and_other_lines_keep_their_order(written: Any) -> None:
    for number in range(10):
        write = logs.fact if number % 2 else lambda name, event: logs.get(name).info(event)
        write("test", str(number))
    assert [line["event"] for line in lines(written)] == [str(number) for number in range(10)]


def test_half_characters_do_not_lose_the_line(written: Any) -> None:
    logs.fact("test", "odd", text="\udc00")
    assert lines(written)[0]["event"] == "odd"


def test_a_closed_stream_does_not_stop_the_work(written: Any) -> None:
    written.close()
    logs.fact("test", "unheard")


def test_whoever_captures_lines_gets_facts_too(written: Any) -> None:
    with structlog.testing.capture_logs() as captured:
        logs.fact("test", "seen", depth=3)
    assert captured == [{"event": "seen", "depth": 3, "log_level": "info"}]
    assert lines(written) == []


def test_whoever_configures_structlog_decides_on_facts_too(written: Any) -> None:
    heard: list[Any] = []

    def hear(_logger: object, _method: str, event: Any) -> Any:
        heard.append(dict(event))
        raise structlog.DropEvent

    structlog.configure(processors=[hear])
    logs.fact("test", "seen", depth=3)
    assert heard == [{"event": "seen", "depth": 3}]
    assert lines(written) == []


def test_a_terminal_gets_readable_facts(written: Any) -> None:
    logs.configure("console", "web", written)
    logs.fact("test", "now", depth=3)
    assert "depth" in written.getvalue()
    assert not written.getvalue().startswith("{")


@pytest.mark.parametrize("captured", [False, True])
def test_the_lines_of_a_batch_are_those_of_single_facts(written: Any, captured: bool) -> None:  # noqa: FBT001
    if captured:  # the long way
        structlog.configure(processors=[*structlog.get_config()["processors"]])
    rows = [{**FACTS, "number": number, "text": "x" * number} for number in range(100)]
    logs.facts("test", "done", (dict(row) for row in rows))
    for row in rows:
        logs.fact("test", "done", **row)
    found = [{**line, "timestamp": ""} for line in lines(written)]
    assert found[:100] == found[100:]


class Recording(io.BytesIO):
    """Keeps what each write brought."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []

    def write(self, data: Any) -> int:
        self.writes.append(bytes(data))
        return len(self.writes[-1])


def test_a_batch_is_written_in_whole_lines_and_no_more_at_once_than_a_pipe_takes() -> None:
    stream = io.TextIOWrapper(Recording(), encoding="utf-8")
    facts = logs._Facts("worker", stream, [lambda *_: {}])
    long = {"text": "x" * 5000}
    written = [facts.line("test", "done", dict(row)) for row in [FACTS] * 50 + [long] + [FACTS] * 50]
    for data in logs._grouped(written):
        facts.write(data)
    recorded = stream.buffer
    assert isinstance(recorded, Recording)
    assert b"".join(recorded.writes) == b"".join(written)
    assert all(data.endswith(b"\n") for data in recorded.writes)
    assert all(len(data) <= logs.ATOMIC_BYTES or data.count(b"\n") == 1 for data in recorded.writes)
    assert len(recorded.writes) < 15
