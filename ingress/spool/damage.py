"""Copies what SQLite can still read of a damaged database into the one that counts.

Callback by callback, because one page that cannot be read must not cost those behind it. How far it came is committed
with what was copied: a crash repeats nothing. In the end one dead letter says what was lost, and where the file is.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from deedbox.ingress.spool.database import Database, open_damaged
from deedbox.ingress.spool.writer import Row, checksum, insert
from deedbox.shared.core.reasons import DeathReason
from deedbox.shared.runtime import logs

PIECE: Final = 200

_ROWS: Final = "SELECT received_at, checksum, entry FROM callbacks WHERE id BETWEEN ? AND ? ORDER BY id"
_LAST: Final = ("SELECT seq FROM sqlite_sequence WHERE name = 'callbacks'", "SELECT max(id) FROM callbacks")

_log = logs.get("spool")


def copy_readable(database: Database, over: Callable[[], bool]) -> None:
    """Copy, until all is done or ``over`` says that it is time for something else. Raises OSError."""
    for damaged in database.folder.damaged():
        database.wait_for_writers()
        if not _copy(database, damaged, over):
            return
        database.folder.keep(damaged)


def _copy(database: Database, damaged: Path, over: Callable[[], bool]) -> bool:
    with database.writing(adds_bytes=1) as connection:  # it is the first of a new database, maybe
        at, found, lost = _progress(connection, damaged)
    end = _last_id(damaged)
    while at < end:
        if over():
            return False
        upto = min(end, at + PIECE)
        rows, unreadable = _read(damaged, at + 1, upto)
        at, found, lost = upto, found + len(rows), lost + unreadable
        with database.writing(adds_bytes=1 + sum(len(row[2]) for row in rows)) as connection:
            insert(connection, rows)
            done = (damaged.name, at, found, lost)
            connection.execute("INSERT OR REPLACE INTO copied VALUES (?, ?, ?, ?)", done)
    _report(database, damaged, found, lost)
    return True


def _report(database: Database, damaged: Path, found: int, lost: int) -> None:
    detail = (
        f"SQLite could not read {damaged}: {found} callbacks were copied out of it, up to {lost} are lost; "
        "look at the file, then remove it"
    )
    _log.error("spool.copied", database=str(damaged), callbacks=found, lost=lost)
    entry = damaged.name.encode()
    with database.writing(adds_bytes=len(entry)) as connection:
        insert(connection, [(0.0, checksum(0.0, entry), entry)])
        connection.execute(
            "INSERT INTO aside (id, reason, detail) VALUES (last_insert_rowid(), ?, ?)",
            (str(DeathReason.SPOOL_DAMAGED), detail),
        )
        connection.execute("DELETE FROM copied WHERE database = ?", (damaged.name,))


def _progress(connection: sqlite3.Connection, damaged: Path) -> tuple[int, int, int]:
    row = connection.execute(
        "SELECT id, found, lost FROM copied WHERE database = ?", (damaged.name,)
    ).fetchone()
    return row or (0, 0, 0)


def _last_id(damaged: Path) -> int:
    """Return the greatest id that was ever used; 0 if the database does not say."""
    for question in _LAST:
        with suppress(sqlite3.Error), open_damaged(damaged) as connection:
            row = connection.execute(question).fetchone()
            if row and isinstance(row[0], int):
                return row[0]
    return 0


def _read(damaged: Path, first: int, last: int) -> tuple[list[Row], int]:
    """Return the callbacks from one id to another, and how many ids could not be read."""
    with suppress(sqlite3.Error), open_damaged(damaged) as connection:
        return _whole(connection.execute(_ROWS, (first, last))), 0
    rows: list[Row] = []
    unreadable = 0
    for number in range(first, last + 1):
        try:
            with open_damaged(damaged) as connection:
                rows += _whole(connection.execute(_ROWS, (number, number)))
        except sqlite3.Error:
            unreadable += 1
    return rows, unreadable


def _whole(rows: Iterable[tuple[object, object, object]]) -> list[Row]:
    """Return what can be a callback: a damaged page may give anything."""
    return [
        (at, check, entry)
        for at, check, entry in rows
        if isinstance(at, float) and isinstance(check, int) and isinstance(entry, bytes)
    ]
