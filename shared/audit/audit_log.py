"""Writes and reads the audit. An operation is recorded when it ends, also by an error: what it had done stays done."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from redis import Redis

from deedbox.shared.audit import audit_line
from deedbox.shared.audit.audit_line import AuditedOperation, AuditLine, Way
from deedbox.shared.core.errors import DeedboxError
from deedbox.shared.redis import keys, repair_calls
from deedbox.shared.redis.connections import translating
from deedbox.shared.redis.scripting import Scripts

KEEP: Final = 10_000
"""Operations that are remembered: about 2 MB."""


@dataclass(slots=True)
class OperationTally:
    """What an operation has done so far."""

    count: int | None = None
    """How many letters, calls or things; None: not known, because it broke off."""


def say_on_stderr(sentence: str) -> None:
    """Tell the person at the terminal."""
    sys.stderr.write(f"deedbox: {sentence}\n")


class AuditLog:
    """Records the operations of one person."""

    def __init__(
        self,
        scripts: Callable[[], Scripts],
        who: str,
        way: Way = Way.COMMAND,
        missed: Callable[[str], None] = say_on_stderr,
        told: Callable[[AuditLine], None] = lambda _line: None,
    ) -> None:
        """Take where it is recorded, and who asks.

        ``missed``: hears that an operation could not be recorded; ``told``: sees each line, too. ``scripts`` may raise
        DeedboxError.
        """
        self._scripts = scripts
        self._who = who
        self._way = way
        self._missed = missed
        self._told = told

    @contextmanager
    def operation(self, what: AuditedOperation, /, **asked: Any) -> Iterator[OperationTally]:
        """Record what is done meanwhile. The body says how many, and calls this only when it is about to change something."""
        tally = OperationTally()
        try:
            yield tally
        finally:
            self._write(AuditLine(self._who, self._way, what, tally.count, audit_line.bounded(asked)))

    def _write(self, line: AuditLine) -> None:
        self._told(line)
        try:
            repair_calls.audit(self._scripts(), line=line.dump(), keep=KEEP)
        except DeedboxError as error:  # what was done is done: it must not look as if it had failed
            self._missed(f"This operation ({line.operation}) could not be recorded in the audit. {error}")


def operator() -> str:
    """Name the person at this machine: before ``sudo``, if it was used."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "operator"


def read(redis: Redis, at_most: int, start: int = 0) -> list[AuditLine]:
    """Return operations, the newest first, without ``start`` newer ones. Raises Unavailable.

    Lines that cannot be read are left out.
    """
    with translating():
        rows: Any = redis.lrange(keys.AUDIT, start, start + at_most - 1)
    return [line for each in rows if (line := audit_line.load(each))]


def count(redis: Redis) -> int:
    """Count the operations that are kept. Raises Unavailable."""
    with translating():
        found: Any = redis.llen(keys.AUDIT)
    return int(found)
