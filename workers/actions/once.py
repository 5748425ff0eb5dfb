"""``with context.once(session):`` the effect of a block, and the key that says it happened, in one transaction of the user's.

A call can be made again after a crash, with the same idempotency key. The block records the key in the table
``deedbox_once`` of the user's database, in the transaction that the block itself writes in, and commits both. A repeat finds
the key: its block is passed over, and whatever it might have written all the same is rolled back.

For SQLite and PostgreSQL, through plain connections (sqlite3, psycopg), SQLAlchemy sessions and connections, and Django's.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Final, NoReturn, Protocol

TABLE: Final = "deedbox_once"

CREATE: Final = f"CREATE TABLE {TABLE} (key TEXT PRIMARY KEY, done_at BIGINT NOT NULL)"
_INSERT: Final = f"INSERT INTO {TABLE} (key, done_at) VALUES ({{0}}, {{1}}) ON CONFLICT DO NOTHING"  # noqa: S608 - of constants
_DELETE: Final = f"DELETE FROM {TABLE} WHERE key = {{0}}"  # noqa: S608 - of constants

_LOCK: Final = "SELECT pg_advisory_xact_lock(7239251061)"
"""Two processes that create the table at once would fail; the number is of this table alone."""

_EXISTS: Final = {
    "sqlite": f"SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = '{TABLE}'",  # noqa: S608 - of constants
    "postgresql": f"SELECT 1 WHERE to_regclass('{TABLE}') IS NOT NULL",
}
_DIALECTS: Final = {"sqlite3": "sqlite", "psycopg": "postgresql"}
_MARKS: Final = {"qmark": "?", "format": "%s", "pyformat": "%s"}


class _Database(Protocol):
    """One kind of connection."""

    dialect: str

    def begin(self) -> None:
        """Be in a transaction, which may have begun before."""

    def run(self, statement: str, *values: object) -> Any:
        """Run a statement whose values are numbered; returns a cursor."""

    def in_transaction(self) -> bool:
        """Return whether what was written can still be rolled back."""

    def end(self, *, commit: bool) -> None:
        """Commit, or roll back."""


class _Passed(BaseException):
    """The block of a repeat is passed over; never leaves the ``with``."""


class Once:
    """The block. ``as first``: whether it is the first time."""

    def __init__(self, session: Any, key: str) -> None:
        self._database = _database_of(session)
        self._key = key
        self._first = True
        self._restore: Callable[[], None] | None = None

    def __enter__(self) -> bool:
        """Begin, and record the key. A repeat is passed over."""
        database = self._database
        database.begin()
        try:
            self._create()
            self._first = database.run(_INSERT, self._key, int(time.time())).rowcount == 1
            if not database.in_transaction():
                self._refuse()
        except BaseException:
            database.end(commit=False)
            raise
        if not self._first:
            self._pass_over(sys._getframe(1))  # noqa: SLF001 - the only way to leave a block that has not begun
        return self._first

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Commit the block and its key; roll back the block of a repeat, and one that failed."""
        del trace
        if self._restore is not None:
            self._restore()
            self._restore = None  # it holds the frame of the block
        # A repeat whose block ran after all, where tracing is impossible, leaves nothing behind either.
        self._database.end(commit=self._first and error is None)
        return kind is _Passed

    def _refuse(self) -> NoReturn:
        if self._first:
            self._database.run(_DELETE, self._key)
        raise TypeError(
            "context.once needs a transaction, and this session commits each statement (AUTOCOMMIT)."
        )

    def _create(self) -> None:
        exists = _EXISTS[self._database.dialect]
        if self._database.run(exists).fetchone() is None:
            if self._database.dialect == "postgresql":
                self._database.run(_LOCK)
                if self._database.run(exists).fetchone() is not None:
                    return
            self._database.run(CREATE)

    def _pass_over(self, block: FrameType) -> None:
        """Let the first instruction of the block raise: Python has no other way to leave it out."""
        if block.f_globals.get("__name__") == "contextlib":  # an ExitStack: the block is somewhere else
            return
        local, opcodes, tracer = block.f_trace, block.f_trace_opcodes, sys.gettrace()

        def leave(frame: FrameType, event: str, about: object) -> Any:
            del frame, event, about
            raise _Passed

        def restore() -> None:  # a trace function that raises ends all tracing
            block.f_trace, block.f_trace_opcodes = local, opcodes
            sys.settrace(tracer)

        self._restore = restore
        block.f_trace, block.f_trace_opcodes = leave, True
        sys.settrace(lambda _frame, _event, _about: None)


def _database_of(session: Any) -> _Database:
    if hasattr(session, "vendor") and hasattr(session, "alias"):
        return _Django(session)
    if hasattr(session, "get_bind") or hasattr(session, "exec_driver_sql"):
        return _SqlAlchemy(session)
    for module in (each.__module__.partition(".")[0] for each in type(session).__mro__):
        if module in _DIALECTS:
            return _DbApi(session, module)
    raise TypeError(
        f"context.once takes a SQLAlchemy session, a Django connection, or one of sqlite3 or psycopg; this is a "
        f"{type(session).__qualname__}."
    )


def _demand_dialect(name: str) -> str:
    if name not in _EXISTS:
        raise TypeError(f"context.once works with SQLite and PostgreSQL; this is {name}.")
    return name


class _DbApi:
    """A connection of the Python database interface."""

    def __init__(self, connection: Any, module: str) -> None:
        self._connection = connection
        self.dialect = _DIALECTS[module]
        self._mark = _MARKS[sys.modules[module].paramstyle]
        self._own = False

    def begin(self) -> None:
        if self.dialect == "sqlite":
            # At once for writing: a transaction that begins to read may find at its first write that it comes too late.
            self._own = not self._connection.in_transaction
            if self._own:
                self.run("BEGIN IMMEDIATE")
        elif self._connection.autocommit:
            self._own = True
            self.run("BEGIN")

    def run(self, statement: str, *values: object) -> Any:
        cursor = self._connection.cursor()
        cursor.execute(statement.format(*[self._mark] * len(values)), values)
        return cursor

    def in_transaction(self) -> bool:
        return True  # ``begin`` saw to it

    def end(self, *, commit: bool) -> None:
        if self._own:
            self.run("COMMIT" if commit else "ROLLBACK")
        elif commit:
            self._connection.commit()
        else:
            self._connection.rollback()


class _SqlAlchemy:
    """A session or a connection of SQLAlchemy."""

    def __init__(self, session: Any) -> None:
        self._session = session
        dialect = session.dialect if hasattr(session, "exec_driver_sql") else session.get_bind().dialect
        self.dialect = _demand_dialect(dialect.name)

    def begin(self) -> None:
        """Do nothing: the first statement begins one."""

    def run(self, statement: str, *values: object) -> Any:
        from sqlalchemy import text

        names = [f"value{number}" for number in range(len(values))]
        given = dict(zip(names, values, strict=True))
        return self._session.execute(text(statement.format(*(f":{name}" for name in names))), given)

    def in_transaction(self) -> bool:
        connection = (
            self._session if hasattr(self._session, "exec_driver_sql") else self._session.connection()
        )
        raw = connection.connection.dbapi_connection
        if self.dialect == "sqlite":
            return bool(raw.in_transaction)
        return not getattr(raw, "autocommit", False)

    def end(self, *, commit: bool) -> None:
        if commit:
            self._session.commit()
        else:
            self._session.rollback()


class _Django:
    """A connection of Django; inside ``atomic`` the block is a savepoint, and the outermost block commits."""

    def __init__(self, connection: Any) -> None:
        from django.db import transaction

        self._connection = connection
        self._transaction = transaction
        self._atomic = transaction.atomic(using=connection.alias)
        self.dialect = _demand_dialect(connection.vendor)

    def begin(self) -> None:
        self._atomic.__enter__()

    def run(self, statement: str, *values: object) -> Any:
        cursor = self._connection.cursor()
        cursor.execute(statement.format(*["%s"] * len(values)), values)
        return cursor

    def in_transaction(self) -> bool:
        return True

    def end(self, *, commit: bool) -> None:
        if commit:
            self._atomic.__exit__(None, None, None)
            return
        self._transaction.set_rollback(True, using=self._connection.alias)
        self._atomic.__exit__(None, None, None)
