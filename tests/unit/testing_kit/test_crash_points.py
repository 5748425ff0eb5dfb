"""``crash_points``: an action that repeats an effect after a crash is found, and one that does not is not."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from deedbox import Context, Event, Retry
from deedbox.testing import Callback, callback, crash_points
from tests.unit.testing_kit.crm import Crm


@pytest.fixture
def signed() -> Callback:
    return callback("signature_request_signed")


def test_every_effect_is_a_point_and_what_came_before_it_repeats(signed: Callback) -> None:
    crm = Crm()

    def act(event: Event, _context: Context) -> None:
        text = f"signed {event.type.upper()}"
        crm.note(text)
        crm.bill(7)

    crashes = crash_points(act, signed)
    assert [(each.number, each.after.split()[0]) for each in crashes] == [(1, "Crm.note"), (2, "Crm.bill")]
    assert [len(each.repeated) for each in crashes] == [1, 2]
    assert crm.bills == [
        7,
        7,
        7,
        7,
    ]  # one call to count, one crash before it, one after, and each second call
    assert [each.second.outcome for each in crashes] == ["done", "done"]


def test_an_action_that_looks_before_it_acts_repeats_nothing(signed: Callback) -> None:
    crm = Crm()

    def act(_event: Event, context: Context) -> None:
        if not crm.knows(context.idempotency_key):
            crm.bill_once(context.idempotency_key)

    crashes = crash_points(act, signed)
    assert [each.after.split()[0] for each in crashes] == ["Crm.knows", "Crm.bill_once"]
    assert [text.split()[0] for text in crashes[1].repeated] == ["Crm.knows"]
    assert len(crm.bills) == len(set(crm.keys))


def test_what_a_transaction_did_not_commit_is_gone_after_the_kill(signed: Callback, tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "x.sqlite")
    connection.execute("CREATE TABLE bills (key TEXT PRIMARY KEY)")

    def act(_event: Event, context: Context) -> None:
        with connection:
            connection.execute("INSERT OR IGNORE INTO bills VALUES (?)", (context.idempotency_key,))

    crashes = crash_points(act, signed)
    assert ["execute" in crashes[0].after, "__exit__" in crashes[1].after] == [True, True]
    assert connection.execute("SELECT count(*), count(DISTINCT key) FROM bills").fetchone() == (3, 3)
    connection.close()


def test_no_except_exception_survives_the_kill(signed: Callback) -> None:
    crm = Crm()

    def act(_event: Event, _context: Context) -> None:
        try:
            crm.note("a")
        except Exception:  # noqa: BLE001 - what must not catch the kill
            crm.bill(1)

    crash_points(act, signed)
    assert crm.bills == []


def test_effects_of_async_actions_count_when_they_are_over(signed: Callback) -> None:
    crm = Crm()

    async def act(_event: Event, _context: Context) -> None:
        await crm.note_slowly("a")
        await asyncio.sleep(0)
        crm.bill(7)

    crashes = crash_points(act, signed)
    assert [each.after.split()[0] for each in crashes] == ["Crm.note_slowly", "Crm.bill"]


def test_calls_that_fail_are_no_effects_and_an_action_without_effects_has_no_points(signed: Callback) -> None:
    crm = Crm()

    def act(_event: Event, _context: Context) -> None:
        crm.fail()

    def retry(event: Event, context: Context) -> None:
        context.note("later")
        raise Retry(str(event.time))

    assert crash_points(act, signed) == []
    assert crash_points(retry, signed) == []


def test_an_action_that_is_not_written_in_python_is_refused(signed: Callback) -> None:
    odd: Any = print
    with pytest.raises(TypeError, match="written in Python"):
        crash_points(odd, signed)
