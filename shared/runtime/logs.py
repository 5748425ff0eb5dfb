"""One line per event on stderr: JSON for machines, readable on a terminal; the standard library's loggers too.

Lines hold facts about a callback (type, source, verdict), never its payload. Of an exception they show its type
and where it came from, not its text: the text of a ``KeyError`` may be a signer's name.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Literal, TextIO

import orjson
import structlog
from structlog.typing import Processor

LogFormat = Literal["auto", "json", "console"]

ROOT: Final = "deedbox"
"""Loggers below this name speak at INFO; all others (werkzeug, kombu, rq, gunicorn) from WARNING on."""

ATOMIC_BYTES: Final = 4096
"""So much a pipe takes at once (PIPE_BUF, Linux): lines of several processes into one pipe do not mix."""

FRAMES: Final = 8
"""Innermost frames of an exception that are shown."""


def configure(log_format: LogFormat, process: str, stream: TextIO | None = None) -> None:
    """Set up logging for one process: web, bridge, worker, sweeper or ops. May be called again."""
    out = sys.stderr if stream is None else stream
    console = log_format == "console" or (log_format == "auto" and out.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        _add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _Process(process),
        _exception_without_values,
    ]
    processors = [*shared, *_renderers(console=console)]
    global _facts  # noqa: PLW0603 - like structlog's own configuration, one per process
    _facts = None if console else _Facts(process, out, processors)
    # Our own lines skip the standard library's logging, which costs three times as much as the rest of a line.
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=_Lines(out),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderers(console=console),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)


def get(name: str) -> structlog.typing.FilteringBoundLogger:
    """Return the logger ``deedbox.<name>``."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(f"{ROOT}.{name}")
    return logger


def fact(name: str, event: str, **facts: Any) -> None:
    """Write what ``get(name).info(event, **facts)`` writes, in a third of the time: for lines about each callback."""
    if _facts is None or not _facts.are_current:
        get(name).info(event, **facts)
    else:
        _facts.write(_facts.line(name, event, facts))


def facts(name: str, event: str, rows: Iterable[dict[str, Any]]) -> None:
    """Write such a line for each row of a batch, some lines with one system call."""
    if _facts is None or not _facts.are_current:
        for row in rows:
            get(name).info(event, **row)
        return
    for lines in _grouped(_facts.line(name, event, row) for row in rows):
        _facts.write(lines)


def _grouped(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Join lines, as many as a pipe takes at once."""
    group = b""
    for line in lines:
        if group and len(group) + len(line) > ATOMIC_BYTES:
            yield group
            group = b""
        group += line
    if group:
        yield group


class _Facts:
    """Writes lines of JSON, straight from their facts, while structlog is configured as ``configure`` left it."""

    def __init__(self, process: str, stream: TextIO, processors: Sequence[Processor]) -> None:
        self._process = process
        self._stream = stream
        self._bytes: BinaryIO | None = getattr(stream, "buffer", None)
        self._processors = processors
        self._renderer = processors[-1]

    @property
    def are_current(self) -> bool:
        """Whether nobody has given structlog other processors since: a host application, or a test."""
        processors = structlog.get_config()["processors"]
        # structlog's own way to capture lines in tests exchanges what is in the list.
        return processors is self._processors and processors[-1] is self._renderer

    def line(self, name: str, event: str, facts: dict[str, Any]) -> bytes:
        """Return a line. The order of its fields is that of the processors."""
        facts["event"] = event
        line = structlog.contextvars.merge_contextvars(None, "info", facts)
        line["level"] = "info"
        line["logger"] = f"{ROOT}.{name}"
        line["timestamp"] = datetime.now(UTC)
        line["process"] = self._process
        try:
            return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z)
        except TypeError:  # see _json
            return f"{json.dumps(line, default=str)}\n".encode()

    def write(self, data: bytes) -> None:
        """Write whole lines, in one call."""
        with suppress(ValueError, OSError):  # as for all lines
            if self._bytes is None:
                self._stream.write(data.decode())
                self._stream.flush()
            else:
                self._bytes.write(data)
                self._bytes.flush()


_facts: _Facts | None = None


class _Lines:
    """Makes loggers that write lines to one stream; each knows its name."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, *names: str) -> _Line:
        return _Line(names[0] if names else ROOT, self._stream)


class _Line:
    """Writes lines. One call of ``write`` for each, so that threads and processes do not mix them."""

    def __init__(self, name: str, stream: TextIO) -> None:
        self.name = name
        self._stream = stream

    def msg(self, line: str) -> None:
        with suppress(ValueError, OSError):  # a stream that was closed must not stop the work
            self._stream.write(line + "\n")
            self._stream.flush()

    debug = info = warning = warn = error = critical = exception = fatal = log = msg


def _add_logger_name(logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Name the logger: ours have a name, and so have the records of the standard library."""
    record = event.get("_record")
    event["logger"] = logger.name if record is None else record.name
    return event


class _Process:
    """Adds the name of the process: several share one terminal under ``deedbox up``."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(
        self, _logger: object, _method: str, event: MutableMapping[str, object]
    ) -> MutableMapping[str, object]:
        event["process"] = self._name
        return event


def _exception_without_values(
    _logger: object, _method: str, event: MutableMapping[str, object]
) -> MutableMapping[str, object]:
    """Replace ``exc_info`` by the type of the exception and its innermost frames."""
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    if isinstance(info, BaseException):
        info = (type(info), info, info.__traceback__)
    if isinstance(info, tuple) and isinstance(info[1], BaseException):
        event["exception"] = type(info[1]).__name__
        event["frames"] = frames(info[2])
    return event


def frames(trace: TracebackType | None) -> list[str]:
    """Return the innermost frames of a traceback as ``file.py:line function``: no source lines, no values."""
    summary = traceback.extract_tb(trace)
    return [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in summary[-FRAMES:]]


def _renderers(*, console: bool) -> list[Processor]:
    if console:
        return [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    return [structlog.processors.JSONRenderer(serializer=_json)]


def _json(event: Any, **options: Any) -> str:
    try:
        return orjson.dumps(event, default=options.get("default")).decode()
    except TypeError:  # half characters: some line is better than none
        return json.dumps(event, default=str)
