"""The short way for lines about callbacks writes the same lines as structlog does."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from shared import logs

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
    root = logging.getLogger()
    before = root.handlers[:], root.level
    logs.configure("json", "web", stream)
    yield stream
    root.handlers[:], level = before
    root.setLevel(level)
    structlog.reset_defaults()


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
