"""Callbacks that cannot be published: set aside in the spool's database until Redis has them as dead letters.

What is not as it was written stays in the database after that, for a person to look at.
"""

from __future__ import annotations

from dataclasses import dataclass
from sqlite3 import Connection
from typing import Final

from deedbox.ingress.spool.database import Database
from deedbox.ingress.spool.folder import SpoolDir
from deedbox.ingress.spool.locks import FileLock
from deedbox.shared.broker.message import encode_kombu
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.errors import Undecodable
from deedbox.shared.core.reasons import DeathReason
from deedbox.shared.redis import script_calls
from deedbox.shared.redis.inbox import about
from deedbox.shared.redis.scripting import Scripts

_ALL: Final = "SELECT id, reason, detail, letter, received_at, length(entry) FROM aside JOIN callbacks USING (id) ORDER BY id"
_MOVE: Final = "INSERT INTO callbacks (received_at, checksum, entry) SELECT received_at, checksum, entry FROM callbacks WHERE id = ?"


@dataclass(frozen=True, slots=True)
class QuarantinedCallback:
    """One of them."""

    id: int
    reason: DeathReason
    detail: str
    is_letter: bool
    """Redis has it as a dead letter."""
    received_at: float
    """Unix seconds."""
    bytes: int


class Quarantine:
    """What was set aside on this host. Methods raise OSError; only where ``folder.exists()``."""

    def __init__(self, folder: SpoolDir) -> None:
        self._database = Database(folder)
        self._mine = FileLock(folder.letters_lock)
        self._told: set[int] = set()
        """Redis has them, and the disk did not take a note of it yet."""

    def all(self) -> list[QuarantinedCallback]:
        """Return all, oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute(_ALL).fetchall()
        return [QuarantinedCallback(number, DeathReason(reason), detail, bool(letter), at, size)
                for number, reason, detail, letter, at, size in rows]  # fmt: skip

    def hand_over(self, scripts: Scripts) -> None:
        """Make dead letters of what waits for that, unless another process does. Raises Unavailable.

        A crash in between makes two letters of one: that is seen, a loss is not.
        """
        waiting = [each for each in self.all() if not each.is_letter]
        if not waiting or not self._mine.take():
            return
        try:
            for each in waiting:
                if each.id not in self._told:
                    self._tell(each, scripts)
                    self._told.add(each.id)
                if each.reason is DeathReason.SPOOL_DAMAGED:
                    self._note(each.id)
                else:
                    self.discard(each.id)
                self._told.discard(each.id)
        finally:
            if not self._told:
                self._mine.drop()

    def redrive(self, number: int) -> bool:
        """Publish one again with the next drain. Returns whether there is such a one."""
        with self._database.writing(adds_bytes=1) as connection:
            if not connection.execute("SELECT 1 FROM aside WHERE id = ?", (number,)).fetchone():
                return False
            # Under a new id: a drain has its old one behind it.
            connection.execute(_MOVE, (number,))
            _remove(connection, number)
        return True

    def discard(self, number: int) -> bool:
        """Remove one for good. Returns whether there was such a one."""
        found: list[bool] = []
        self._database.give_back(lambda connection: found.append(_remove(connection, number)))
        return found[-1]

    def close(self) -> None:
        """Let go of the spool."""
        self._database.close()
        self._mine.drop()

    def _note(self, number: int) -> None:
        note = "UPDATE aside SET letter = 1 WHERE id = ?"
        self._database.give_back(lambda connection: connection.execute(note, (number,)))

    def _tell(self, each: QuarantinedCallback, scripts: Scripts) -> None:
        letter: dict[str, str | bytes] = {"reason": str(each.reason), "detail": each.detail}
        if each.reason is not DeathReason.SPOOL_DAMAGED:
            with self._database.reading() as connection:
                row = connection.execute("SELECT entry FROM callbacks WHERE id = ?", (each.id,)).fetchone()
            message = _message(row[0] if row else b"")
            letter |= {"raw": message, **about(message)}
        script_calls.append(scripts, letters=[letter])


def _remove(connection: Connection, number: int) -> bool:
    if not connection.execute("DELETE FROM aside WHERE id = ?", (number,)).rowcount:
        return False
    connection.execute("DELETE FROM callbacks WHERE id = ?", (number,))
    return True


def _message(content: bytes) -> bytes:
    """Return the message as the bridge reads it, so that a redrive can give it back."""
    try:
        envelope = Envelope.unpack(content)
    except Undecodable:
        return encode_kombu({}, content)
    return encode_kombu(envelope.headers(), envelope.body)
