"""Quarantine: spooled bytes that could not be handed on, kept as files until Redis has them as dead letters.

Each file is one line of JSON (reason, detail, received_at), then the bytes. Names come from segment and offset:
setting the same thing aside twice, after a crash, makes one file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from deedbox.ingress.spool.folder import SpoolDir, lock
from deedbox.shared.broker.message import encode_kombu
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.errors import Undecodable
from deedbox.shared.core.reasons import DeathReason
from deedbox.shared.redis.inbox import NO_BATCH
from deedbox.shared.redis.scripting import SERVER_CLOCK, Scripts

LETTER: Final = ".letter"
"""Not yet a dead letter in Redis."""
KEPT: Final = ".kept"
"""A dead letter speaks of it; the bytes stay here, for a person to look at and remove."""


@dataclass(frozen=True, slots=True)
class Aside:
    """What is set aside, and why."""

    reason: DeathReason
    detail: str
    content: bytes = field(repr=False)
    received_at: float | None = None
    """Unix seconds, where it is known."""


def set_aside(folder: SpoolDir, segment: Path, offset: int, aside: Aside) -> None:
    """Keep it durably. Raises OSError."""
    facts = {"reason": aside.reason, "detail": aside.detail, "received_at": aside.received_at}
    name = f"{segment.stem}-{offset}{LETTER}"
    folder.keep(name, json.dumps(facts).encode() + b"\n" + aside.content)


def waiting(folder: SpoolDir) -> Iterator[Path]:
    """Yield the files that are no dead letters yet, oldest first. Raises OSError."""
    if folder.quarantine.is_dir():
        yield from sorted(
            path for path in folder.quarantine.glob(f"*{LETTER}") if not path.name.startswith(".")
        )


def hand_over(path: Path, scripts: Scripts) -> None:
    """Make a file a dead letter, unless another process is at it.

    A crash in between makes two letters of it: that is seen, a loss is not. Raises Unavailable if Redis does not
    take it, OSError.
    """
    with suppress(FileNotFoundError), path.open("rb") as file:
        if lock(file.fileno()) and os.fstat(file.fileno()).st_nlink > 0 and path.exists():
            _hand_over(path, file.read(), scripts)


def _hand_over(path: Path, text: bytes, scripts: Scripts) -> None:
    line, _, content = text.partition(b"\n")
    facts = json.loads(line)
    values: list[str | bytes] = ["reason", facts["reason"], "detail", facts["detail"]]
    if facts["reason"] != DeathReason.SPOOL_DAMAGED:
        values += ["raw", _message(content)]
    # No callbacks, nothing redriven, one dead letter.
    scripts.call("append", SERVER_CLOCK, *NO_BATCH, len(values), *values)
    if facts["reason"] == DeathReason.SPOOL_DAMAGED:
        path.rename(path.with_suffix(KEPT))
    else:
        path.unlink()


def _message(content: bytes) -> bytes:
    """Return the message as the bridge reads it, so that a redrive can give it back."""
    try:
        envelope = Envelope.unpack(content)
    except Undecodable:
        return encode_kombu({}, content)
    return encode_kombu(envelope.headers(), envelope.body)
