"""The bills that the tests write, through each kind of session."""

from __future__ import annotations

import sqlite3
from typing import Any, Protocol
from urllib.parse import urlsplit

INSERT = "INSERT INTO bills (name) VALUES ('{}')"
COUNT = "SELECT count(*) FROM bills WHERE name = '{}'"
CREATE = "CREATE TABLE bills (name TEXT)"


class Bills(Protocol):
    """A table without any constraint: a repeat would be seen."""

    session: Any

    def create(self) -> None: ...

    def add(self, name: str) -> None: ...

    def count(self, name: str) -> int: ...


class DbApiBills:
    """Through a plain connection."""

    def __init__(self, session: Any) -> None:
        self.session = session

    def _run(self, statement: str) -> Any:
        cursor = self.session.cursor()
        cursor.execute(statement)
        return cursor

    def create(self) -> None:
        self._run(CREATE)
        self._end(commit=True)

    def add(self, name: str) -> None:
        self._run(INSERT.format(name))

    def count(self, name: str) -> int:
        [found] = self._run(COUNT.format(name)).fetchone()
        self._end(commit=False)
        return int(found)

    def _end(self, *, commit: bool) -> None:
        if commit:
            self.session.commit()
        else:
            self.session.rollback()


class SqlAlchemyBills(DbApiBills):
    """Through a session of SQLAlchemy."""

    def _run(self, statement: str) -> Any:
        from sqlalchemy import text

        return self.session.execute(text(statement))


class DjangoBills(DbApiBills):
    """Through a connection of Django, which commits each statement outside ``atomic``."""

    def _end(self, *, commit: bool) -> None:
        del commit


def open_bills(kind: str, url: str) -> Bills:
    """Open a connection: ``dbapi``, ``autocommit``, ``sqlalchemy``, ``sqlalchemy-connection`` or ``django``."""
    path = url.removeprefix("sqlite:///")
    if kind in {"dbapi", "autocommit"}:
        if path != url:
            return DbApiBills(
                sqlite3.connect(path, isolation_level=None if kind == "autocommit" else "DEFERRED")
            )
        import psycopg

        return DbApiBills(psycopg.connect(url, autocommit=kind == "autocommit"))
    if kind == "django":
        return DjangoBills(_django(url, path))
    import sqlalchemy
    from sqlalchemy.orm import Session

    engine = sqlalchemy.create_engine(
        url.replace("postgresql:", "postgresql+psycopg:"), poolclass=sqlalchemy.NullPool
    )
    return SqlAlchemyBills(Session(engine) if kind == "sqlalchemy" else engine.connect())


def _django(url: str, path: str) -> Any:
    import django
    from django.conf import settings
    from django.db import connections

    if not settings.configured:
        settings.configure(DATABASES={})
    django.setup()
    parts = urlsplit(url)
    given: dict[str, Any] = {"ENGINE": "django.db.backends.sqlite3", "NAME": path}
    if path == url:
        given = {"ENGINE": "django.db.backends.postgresql", "NAME": parts.path.strip("/"), "USER": parts.username,
                 "HOST": parts.hostname, "PORT": parts.port}  # fmt: skip
    # `atomic` finds a connection by its name, so that each test puts its database under the one name.
    connections.settings = connections.configure_settings({"default": given})
    connections["default"] = connections.create_connection("default")
    return connections["default"]
