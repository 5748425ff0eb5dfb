"""One line per event on stderr: JSON for machines, readable on a terminal; the standard library's loggers too.

Lines hold facts about a callback (type, source, verdict), never its payload. Of an exception they show its type
and where it came from, not its text: the text of a ``KeyError`` may be a signer's name.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Iterable, Mapping, MutableMapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, TextIO

import orjson
import structlog
from structlog.typing import Processor

from deedbox.shared.printable import printable
from deedbox.shared.runtime.line_writer import LineWriter

LogFormat = Literal["auto", "json", "console"]

ROOT: Final = "deedbox"
"""Loggers below this name speak at INFO, and so do those of an application's actions; all others (werkzeug, kombu, rq,
gunicorn, libraries) from WARNING on."""

STDERR: Final = 2

FRAMES: Final = 8
"""Innermost frames of an exception that are shown."""


_json_lines: _JsonLines | None = None
"""Of this process, while its lines are JSON."""


def configure(log_format: LogFormat, process: str, stream: TextIO | None = None) -> None:
    """Set up logging for one process: web, bridge, worker, sweeper or ops. May be called again.

    Without ``stream`` the lines go to standard error, and whatever else is written there too, by a thread.
    """
    out = stderr() if stream is None else stream
    console = log_format == "console" or (log_format == "auto" and out.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        _add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        partial(_add_process, process),
        _exception_without_values,
    ]
    # Our own lines skip the standard library's logging, which costs three times as much as the rest of a line.
    renderers = _renderers(console=console)
    global _json_lines  # noqa: PLW0603 - logging is one for each process
    _json_lines = None if console else _JsonLines(process, out, renderers[-1])
    structlog.configure(
        processors=[*shared, *renderers],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=partial(_Lines, out),
        cache_logger_on_first_use=False,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *_renderers(console=console),
        ],
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    if isinstance(out, LineWriter):
        out.dropped_line = partial(_dropped_line, formatter)


def show_application(modules: Iterable[str]) -> None:
    """Show what an application logs from INFO on: the loggers of these modules and of the packages that they lie in."""
    for package in {module.partition(".")[0] for module in modules}:
        logger = logging.getLogger(package)
        if logger.level == logging.NOTSET:  # the application has not chosen
            logger.setLevel(logging.INFO)


def stderr() -> TextIO:
    """Return standard error; from now on no thread that writes to it waits for its reader.

    That holds for the traceback of a thread or a process that ends by a bug, too. What a test or a host application has
    put in its place stays.
    """
    with suppress(AttributeError, OSError, ValueError):
        if sys.stderr.fileno() == STDERR and not isinstance(sys.stderr, LineWriter):
            sys.stderr.flush()
            sys.stderr = LineWriter(STDERR)
    return sys.stderr


def _dropped_line(formatter: logging.Formatter, count: int) -> str:
    record = logging.LogRecord(
        f"{ROOT}.logs", logging.WARNING, "", 0, f"{count} lines dropped: the log was not read", None, None
    )
    return formatter.format(record) + "\n"


def get(name: str) -> structlog.typing.FilteringBoundLogger:
    """Return the logger ``deedbox.<name>``."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(f"{ROOT}.{name}")
    return logger


class HopLog:
    """The lines of a hop, one for each callback. As JSON they are made and written together, for a quarter of the CPU."""

    def __init__(self, name: str, event: str) -> None:
        self._name = f"{ROOT}.{name}"
        self._event = event
        self._log = get(name)

    def write(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write a line at INFO for each row."""
        lines = _json_lines
        if lines is not None and lines.is_current():
            lines.write(self._name, self._event, rows)
            return
        for row in rows:
            self._log.info(self._event, **row)


class _JsonLines:
    """What structlog writes for the same rows, without a call of each of its steps for each line."""

    def __init__(self, process: str, out: TextIO, renderer: Processor) -> None:
        self._process = process
        self._out = out
        self._renderer = renderer

    def is_current(self) -> bool:
        """Return whether structlog is as we have configured it: a host application or a test may have changed it."""
        return bool(structlog.get_config()["processors"][-1] is self._renderer)

    def write(self, logger: str, event: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write a line for each row."""
        said = {
            "event": event,
            "level": "info",
            "logger": logger,
            "timestamp": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "process": self._process,
        }
        self._out.write("".join([_json({**row, **said}) + "\n" for row in rows]))
        self._out.flush()


class _Lines(structlog.WriteLogger):
    """structlog's writer of lines, with the name of its logger."""

    def __init__(self, stream: TextIO, name: str = ROOT) -> None:
        super().__init__(stream)
        self.name = name


def _add_logger_name(logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Name the logger: ours have a name, and so have the records of the standard library."""
    record = event.get("_record")
    event["logger"] = logger.name if record is None else record.name
    return event


def _add_process(
    name: str, _logger: object, _method: str, event: MutableMapping[str, object]
) -> MutableMapping[str, object]:
    """Name the process: several share one terminal under ``deedbox up``."""
    event["process"] = name
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
        return [_harmless, structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    return [structlog.processors.JSONRenderer(serializer=_json)]


def _harmless(
    _logger: object, _method: str, event: MutableMapping[str, object]
) -> MutableMapping[str, object]:
    """Show what could steer the terminal: an application may log what a callback says."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = printable(value)
    return event


def _json(event: Any, **options: Any) -> str:
    with suppress(TypeError):  # half characters
        line = orjson.dumps(event, default=options.get("default")).decode()
        if line.isprintable():
            return line
    return json.dumps(event, default=str)  # the same, with escapes: logs are read in terminals, too
