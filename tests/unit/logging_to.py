"""Logging as a web process has it, into a stream of the test's."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import structlog

from deedbox.shared.runtime import logs


@contextmanager
def logging_to(stream: TextIO) -> Iterator[None]:
    """Log JSON lines into the stream inside the block; afterwards logging is as it was."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    logs.configure("json", "web", stream)
    try:
        yield
    finally:
        root.handlers[:], level = before
        root.setLevel(level)
        structlog.reset_defaults()
