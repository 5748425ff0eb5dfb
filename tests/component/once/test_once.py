"""``context.once``: the effect of a block happens once, wherever its process is killed."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from deedbox import Context
from deedbox.testing import callback, crash_points
from tests.component.once.databases import Bills, open_bills
from tests.support.postgres import PostgresServer

ROOT = Path(__file__).parents[3]
KINDS = ["dbapi", "autocommit", "sqlalchemy", "sqlalchemy-connection", "django"]


def needs(kind: str) -> None:
    if os.environ.get("CI") != "true":
        pytest.importorskip(
            kind.partition("-")[0] if kind in {"sqlalchemy", "sqlalchemy-connection", "django"} else "sqlite3"
        )


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, sqlite_url: str) -> str:
    if request.param == "sqlite":
        return sqlite_url
    server: PostgresServer = request.getfixturevalue("postgres")
    bills = open_bills("autocommit", server.url)
    for table in ("bills", "deedbox_once"):
        bills.session.execute(f"DROP TABLE IF EXISTS {table}")
    bills.session.close()
    return server.url


@pytest.fixture(params=KINDS)
def bills(request: pytest.FixtureRequest, url: str) -> Any:
    needs(request.param)
    made = open_bills(request.param, url)
    made.create()
    yield made
    made.session.close()


def context(key: str = "key") -> Context:
    return Context(idempotency_key=key, attempt=1)


def test_a_repeat_passes_the_block_over_and_goes_on_behind_it(bills: Bills) -> None:
    passed: list[str] = []
    for _ in range(3):
        with context().once(bills.session) as first:
            assert first
            passed.append("in the block")
            bills.add("a")
        passed.append("behind it")
    assert bills.count("a") == 1
    assert passed == ["in the block", *["behind it"] * 3]


def test_a_block_that_fails_records_nothing_and_is_run_again(bills: Bills) -> None:
    def fail() -> None:
        with context().once(bills.session):
            bills.add("a")
            raise KeyError("x")

    with pytest.raises(KeyError):
        fail()
    assert bills.count("a") == 0
    with context().once(bills.session):
        bills.add("a")
    assert bills.count("a") == 1


def test_another_event_and_another_name_have_their_own_block(bills: Bills) -> None:
    both = context()
    with both.once(bills.session, "bill"):
        bills.add("a")
    with both.once(bills.session, "note"):
        bills.add("a")
    with context("another").once(bills.session):
        bills.add("a")
    assert bills.count("a") == 3


@pytest.mark.parametrize(
    ("kind", "database", "step"),
    [
        ("dbapi", "sqlite", 1),
        ("dbapi", "postgres", 1),
        ("sqlalchemy", "postgres", 4),
        ("django", "sqlite", 4),
    ],
)
def test_a_worker_that_is_killed_at_any_point_leaves_one_effect(
    request: pytest.FixtureRequest, sqlite_url: str, kind: str, database: str, step: int
) -> None:
    needs(kind)
    url = sqlite_url
    if database == "postgres":
        url = request.getfixturevalue("postgres").url
        cleared = open_bills("autocommit", url)
        cleared.session.execute("DROP TABLE IF EXISTS bills, deedbox_once")
        cleared.session.close()
    command = [sys.executable, "-m", "tests.component.once.kills", kind, url, str(step)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["wrong"] == []
    # Some of the kills came before the commit, and with every point some behind it.
    assert (0 if step == 1 else -1) < found["committed"] < found["points"]


def test_two_blocks_of_one_name_are_a_mistake_that_is_named(sqlite_url: str) -> None:
    one = context()
    one.once(open_bills("dbapi", sqlite_url).session)
    with pytest.raises(ValueError, match="own name"):
        one.once(open_bills("dbapi", sqlite_url).session)


def test_a_session_that_commits_each_statement_is_refused(sqlite_url: str) -> None:
    needs("sqlalchemy")
    import sqlalchemy

    engine = sqlalchemy.create_engine(sqlite_url, isolation_level="AUTOCOMMIT", poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        for _ in range(2):
            with pytest.raises(TypeError, match="AUTOCOMMIT"), context().once(connection):
                pass
        assert connection.execute(sqlalchemy.text("SELECT count(*) FROM deedbox_once")).scalar() == 0


def test_what_is_no_session_is_named() -> None:
    with pytest.raises(TypeError, match="sqlite3 or psycopg; this is a str"):
        context().once("postgresql://localhost")


def test_a_block_of_one_line_and_one_under_a_tracer_are_passed_over_too() -> None:
    connection, seen = sqlite3.connect(":memory:"), []

    def trace(*_: Any) -> Any:
        return trace

    def act() -> None:
        with context().once(connection): seen.append("in")  # fmt: skip  # noqa: E701
        seen.append("behind")

    act()
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        act()
        assert sys.gettrace() is trace
    finally:
        sys.settrace(before)
    assert seen == ["in", "behind", "behind"]
    connection.close()


def test_where_a_block_cannot_be_passed_over_what_it_wrote_is_rolled_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE bills (name TEXT)")
    monkeypatch.setattr("deedbox.workers.actions.once.Once._pass_over", lambda _self, _frame: None)
    for wanted in (True, False):
        with context().once(connection) as first:
            assert first is wanted
            connection.execute("INSERT INTO bills VALUES ('a')")
    assert connection.execute("SELECT count(*) FROM bills").fetchone() == (1,)
    connection.close()


def test_in_an_exit_stack_what_a_repeat_wrote_is_rolled_back() -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE bills (name TEXT)")
    for wanted in (True, False):
        with ExitStack() as stack:
            assert stack.enter_context(context().once(connection)) is wanted
            connection.execute("INSERT INTO bills VALUES ('a')")
    assert connection.execute("SELECT count(*) FROM bills").fetchone() == (1,)
    connection.close()


def test_crash_points_show_that_nothing_is_written_twice(sqlite_url: str) -> None:
    connection = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))
    connection.execute("CREATE TABLE bills (key TEXT)")

    def act(_event: Any, given: Context) -> None:
        with given.once(connection):
            connection.execute("INSERT INTO bills VALUES (?)", (given.idempotency_key,))

    crashes = crash_points(act, callback("signature_request_signed"))
    assert [each.after.split()[0] for each in crashes] == ["Connection.execute", "Once.__exit__"]
    assert [each.repeated for each in crashes][1] == (crashes[1].after,)
    rows, keys = connection.execute("SELECT count(*), count(DISTINCT key) FROM bills").fetchone()
    assert rows == keys == 3
    connection.close()
