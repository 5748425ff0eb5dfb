"""Lines of the log: their fields, and that no process waits for the program that reads them."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import pytest
import structlog

from deedbox.shared.runtime import line_writer, logs
from deedbox.shared.runtime.line_writer import ATOMIC_BYTES, BYTES_MAX, LineWriter
from tests.unit.logging_to import logging_to

FACTS: dict[str, Any] = {"source": "default", "took_ms": 1.5, "cause": None, "status": 200}


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    with logging_to(stream):
        yield stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_names_its_event_logger_level_process_and_time(written: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(job="7"):
        logs.get("ingress").info("event.received", **FACTS)
    (line,) = lines(written)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        **FACTS,
        "event": "event.received",
        "logger": "deedbox.ingress",
        "level": "info",
        "process": "web",
        "job": "7",
    }


def test_lines_of_the_standard_library_have_the_same_fields(written: io.StringIO) -> None:
    logging.getLogger("kombu").warning("away")
    (line,) = lines(written)
    assert (line["event"], line["logger"], line["level"], line["process"]) == (
        "away",
        "kombu",
        "warning",
        "web",
    )


def test_half_characters_do_not_lose_the_line(written: io.StringIO) -> None:
    logs.get("test").info("odd", text="\udc00")
    assert lines(written)[0]["event"] == "odd"


def test_a_terminal_gets_readable_lines(written: io.StringIO) -> None:
    logs.configure("console", "web", written)
    logs.get("test").info("now", depth=3)
    assert "depth" in written.getvalue()
    assert not written.getvalue().startswith("{")


ROWS: tuple[dict[str, Any], ...] = (FACTS, {**FACTS, "text": "\udc00"}, {**FACTS, "text": "\u202ea\nb"})


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_the_lines_of_a_hop_are_those_that_each_alone_would_be(
    written: io.StringIO, log_format: Literal["json", "console"]
) -> None:
    logs.configure(log_format, "web", written)
    for row in ROWS:
        logs.get("bridge").info("event.bridged", **row)
    alone = written.getvalue()
    logs.HopLog("bridge", "event.bridged").write(ROWS)
    stamp = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")
    assert stamp.sub("now", written.getvalue()[len(alone) :]) == stamp.sub("now", alone)


def test_the_lines_of_a_hop_go_where_structlog_was_told_to_bring_them(written: io.StringIO) -> None:
    """A host application, or a test, may have configured it after us."""
    with structlog.testing.capture_logs() as captured:
        logs.HopLog("bridge", "event.bridged").write([FACTS])
    assert captured == [{**FACTS, "event": "event.bridged", "log_level": "info"}]
    assert written.getvalue() == ""


@contextmanager
def pipe() -> Iterator[tuple[int, LineWriter]]:
    """Give the reading end of a pipe, and a writer of its other end."""
    reading, writing = os.pipe()
    try:
        yield reading, LineWriter(writing)
    finally:
        os.close(reading)
        os.close(writing)


def read_until(descriptor: int, end: bytes) -> bytes:
    found = b""
    while end not in found:
        found += os.read(descriptor, 65536)
    return found


def test_lines_arrive_in_order_and_whole() -> None:
    with pipe() as (reading, writer):
        for number in range(500):
            writer.write(f"{number}\n")
        assert read_until(reading, b"499\n").split() == [b"%d" % number for number in range(500)]


@pytest.mark.parametrize("together", [1, 3])
def test_a_pipe_that_is_not_read_holds_up_nobody_and_the_next_line_counts_what_was_dropped(
    together: int,
) -> None:
    line = ("x" * 999 + "\n") * together
    with pipe() as (reading, writer):
        for _ in range(3 * BYTES_MAX // 1000 // together):
            writer.write(line)
        assert not writer.drain(0.05)
        found = b""
        while len(found) < BYTES_MAX // 2:
            found += os.read(reading, 65536)
        writer.write("after\n")
        found += read_until(reading, b"after\n")
    read = found.decode().splitlines()
    told = [each for each in read if each.endswith(" lines dropped: the log was not read")]
    kept = read.count("x" * 999)
    # One such line where the writer was quick; its thread may have found room in between.
    assert (
        sum(int(each.partition(" ")[0]) for each in told)
        == 3 * BYTES_MAX // 1000 // together * together - kept
        > 0
    )
    assert read[-1] == "after"


def test_lines_of_several_threads_do_not_mix() -> None:
    with pipe() as (reading, writer):

        def write(word: str) -> None:
            for _ in range(200):
                writer.write(word * 40 + "\n")

        threads = [threading.Thread(target=write, args=(word,)) for word in "abc"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        writer.write("end\n")
        found = read_until(reading, b"end\n").decode().split()
    assert sorted(found[:-1]) == ["a" * 40] * 200 + ["b" * 40] * 200 + ["c" * 40] * 200


def test_a_pipe_gets_no_more_at_once_than_it_takes_whole() -> None:
    long = b"x" * (ATOMIC_BYTES + 1)
    found = list(line_writer._grouped([*[b"y" * 1000] * 9, long, b"z"]))
    assert [len(each) for each in found if isinstance(each, bytes)] == [4000, 4000, 1000, len(long), 1]


def test_a_text_of_many_lines_is_parted_where_a_line_ends() -> None:
    text = (b"x" * 99 + b"\n") * 100
    found = [each for each in line_writer._grouped([b"first\n", text]) if isinstance(each, bytes)]
    assert b"".join(found) == b"first\n" + text
    assert all(len(each) <= ATOMIC_BYTES and each.endswith(b"\n") for each in found)


def test_a_forked_child_writes_its_own_lines_only() -> None:
    with pipe() as (reading, writer):
        writer.write("parent\n")
        child = os.fork()
        if not child:
            writer.write("child\n")
            writer.drain(5)
            os._exit(0)
        os.waitpid(child, 0)
        writer.write("end\n")
        assert sorted(read_until(reading, b"end\n").split()) == [b"child", b"end", b"parent"]


PROCESS = """
import threading
from deedbox.shared.runtime import logs
logs.configure("json", "test")
{}
"""


def running(code: str, **options: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", PROCESS.format(code)], stderr=subprocess.PIPE, **options)


def test_what_was_logged_last_is_written_when_a_process_ends() -> None:
    process = running("logs.get('x').info('last words')")
    assert b"last words" in process.communicate(timeout=30)[1]


@pytest.mark.parametrize(
    "code",
    [
        "for _ in range(20000): logs.get('x').info('n' * 100)",
        "raise ValueError('x' * 200_000)",
        "t = threading.Thread(target=lambda: 1 / ('x' * 200_000)); [t.start(), t.join()]",
        "import sys; sys.stderr.write('x' * 200_000)",
    ],
    ids=["lines", "traceback", "traceback of a thread", "text"],
)
def test_a_process_whose_log_is_never_read_ends_by_itself(code: str) -> None:
    process = running(code)
    try:
        assert process.wait(20) in {0, 1}
    finally:
        process.kill()
        process.communicate()
