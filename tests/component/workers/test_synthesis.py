"""Callbacks that are lost for good: what the API proves reaches the actions, once and in order, and nothing else does."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from deedbox.ops.readmodels import events
from deedbox.shared import sealing
from deedbox.shared.core.gaps import SIGNED, VIEWED
from deedbox.shared.documents import DocumentStore, FileTree
from deedbox.shared.redis import keys
from deedbox.shared.redis.erasure import Asker, Eraser
from deedbox.shared.redis.request_keys import Subject
from deedbox.shared.retention import Retention
from deedbox.shared.sealing.key_ring import KeyRing
from deedbox.shared.simulator.api_state import Endpoint
from deedbox.workers.builtins.synthesis import Synthesis
from deedbox.workers.dropbox_sign.client import SignApi
from deedbox.workers.process import Process
from tests.component.workers.gaps_desk import (
    LANE,
    SYNTHESISES,
    GapsDesk,
    Open,
    T,
    gap_desks,
    shown,
    signer,
)
from tests.component.workers.gaps_desk import SIGNED as SIGNED_ROW
from tests.component.workers.rig import expire_units
from tests.component.workers.server import RedisServer

pytestmark = pytest.mark.real_redis

STORY = ["sent", "viewed", "signed", "all_signed", "downloadable"]


@pytest.fixture
def begin(redis_server: RedisServer, state: Redis, tmp_path: Path) -> Iterator[Open]:
    with gap_desks(redis_server.url, state, tmp_path, shown(), **SYNTHESISES) as build:
        yield build


@pytest.fixture
def desk(begin: Open) -> GapsDesk:
    return begin()


def origins(desk: GapsDesk) -> list[tuple[str, str]]:
    """Return type and origin of every call of a user's action."""
    types = desk.seen.types()
    return [(name, event.origin) for name, (event, _) in zip(types, desk.seen.calls, strict=True)]


def test_a_request_that_no_callback_told_of_runs_its_actions_once_and_in_order(desk: GapsDesk) -> None:
    desk.reconcile()
    assert origins(desk) == [(name, "reconciled") for name in STORY]
    signed, _ = desk.seen.calls[2]
    assert (signed.time, signed.related_signature_id, signed.trust, signed.body_signature) == (
        T + 20, "s1", "confirmed", "absent",
    )  # fmt: skip
    assert signed.signer is not None
    assert signed.signer.signature_id == "s1"
    assert "event_hash" not in signed.payload["event"]
    assert (desk.model()["state"], desk.model()["complete"], desk.documents()) == ("downloadable", True, 1)
    assert desk.calls(Endpoint.FILES) == 1


def test_what_was_released_is_reported_and_shown(desk: GapsDesk) -> None:
    desk.reconcile()
    names = [f"signature_request_{name}" for name in STORY]
    released = sorted(f"{name}|{'s1' if name in {VIEWED, SIGNED} else ''}" for name in names)
    assert desk.report()["released"] == released
    [line] = [line for line in desk.deployment.timeline() if line["kind"] == "reconciled"]
    assert line["released"] == released
    arrived = [line for line in desk.deployment.timeline() if line["kind"] == "arrived"]
    assert [line["origin"] for line in arrived] == ["reconciled"] * len(STORY)
    read = events.read(desk.state, events.oldest(desk.state), events.EventFilter())
    page = events.with_heads(desk.state, read)
    assert [row["origin"] for row in page.events if row["type"] in names] == ["reconciled"] * len(STORY)
    assert {row["origin"] for row in page.events if row["type"].startswith("deedbox.")} == {"deedbox"}
    counters = desk.deployment.counters()
    assert (counters["reconciled"], counters["body_signature_absent"]) == (len(STORY), 0)


def test_without_the_setting_nothing_is_made_up(begin: Open) -> None:
    desk = begin(DEEDBOX_SYNTHESISE="off")
    desk.reconcile()
    assert (desk.seen.calls, desk.report()["released"], desk.documents()) == ([], [], 1)


def come(desk: GapsDesk, seconds: int = 0, **metadata: Any) -> None:
    """Let the genuine callbacks of the whole request come, ``seconds`` after the times that the API shows."""
    open_request = {"is_complete": False}
    desk.happen("sent", seconds, shown("r1", signer("s1"), **open_request), **metadata)
    desk.happen("viewed", 10 + seconds, shown("r1", signer("s1", 10), **open_request), "s1")
    desk.happen("signed", 20 + seconds, shown("r1", SIGNED_ROW, **open_request), "s1")
    desk.happen("all_signed", 20 + seconds, shown(), **metadata)
    desk.happen("downloadable", 22 + seconds, shown(), **metadata)
    desk.work_off()


@pytest.mark.parametrize("seconds", [0, 3, -2])
@pytest.mark.parametrize("metadata", [{}, {"related": "filler"}])
def test_genuine_callbacks_that_come_late_are_duplicates(
    desk: GapsDesk, seconds: int, metadata: dict[str, str]
) -> None:  # fmt: skip
    desk.reconcile()
    before = desk.deployment.counters()
    come(desk, seconds, **metadata)
    come(desk, seconds, **metadata)
    assert [name for name, _ in origins(desk)] == STORY
    counted = desk.deployment.counters() - before
    assert (counted["duplicate"], counted["conflict"], counted["better_body"]) == (2 * len(STORY), 0, 0)
    told = [line for line in desk.deployment.timeline() if line["kind"] == "duplicate"]
    assert {line.get("of") for line in told} == {"reconciled"}


@pytest.mark.parametrize("seconds", [0, 3])
def test_what_came_already_is_not_made_up(desk: GapsDesk, seconds: int) -> None:
    come(desk, seconds)
    desk.reconcile()
    assert origins(desk) == [(name, "callback") for name in STORY]


@pytest.mark.parametrize("seconds", [0, 3])
@pytest.mark.parametrize("genuine_first", [True, False])
def test_callbacks_that_cross_with_the_reconcile_run_once(
    desk: GapsDesk, seconds: int, *, genuine_first: bool
) -> None:  # fmt: skip
    """Both lie in the inbox when the sequencer comes: `reconcile` saw no callback of either."""
    deliver = desk.deployment.deliver
    held_back: list[tuple[Sequence[bytes], dict[str, Any]]] = []
    desk.deployment.deliver = lambda *bodies, **more: held_back.append((bodies, more))  # type: ignore[method-assign]
    come(desk, seconds)
    if not genuine_first:
        desk.file()
        desk.deployment.work(LANE)
    for bodies, more in held_back:
        deliver(*bodies, **more)
    if genuine_first:
        desk.file()
        desk.deployment.work(LANE)
    assert desk.seen.calls == []
    desk.work_off()
    expected = "callback" if genuine_first else "reconciled"
    assert origins(desk)[:3] == [(name, expected) for name in STORY[:3]]
    assert [name for name, _ in origins(desk)] == STORY
    assert desk.deployment.counters()["conflict"] == 0


def test_a_callback_that_is_held_is_no_lost_one(begin: Open) -> None:
    """It waits for a `sent` that is lost: the synthesised one lets it go, and it is not synthesised itself."""
    desk = begin(hold_s=3600.0)
    desk.happen("viewed", 10, shown("r1", signer("s1", 10), is_complete=False), "s1")
    assert desk.seen.calls == []
    desk.api.state.put(shown("r1", signer("s1", 10), is_complete=False))
    desk.reconcile()
    assert origins(desk) == [("sent", "reconciled"), ("viewed", "callback")]


def test_what_is_behind_a_released_event_comes_late(desk: GapsDesk) -> None:
    """As its callback would: the order of what was released is not changed afterwards."""
    desk.happen("sent", 0, shown("r1", signer("s1"), is_complete=False))
    desk.happen("all_signed", 20, shown())
    desk.work_off()
    desk.later()
    desk.work_off()
    assert origins(desk) == [
        ("sent", "callback"), ("all_signed", "callback"), ("viewed!", "reconciled"), ("signed!", "reconciled"),
        ("downloadable", "reconciled"),
    ]  # fmt: skip


def test_a_lost_downloadable_is_noticed_and_made_up_for(desk: GapsDesk) -> None:
    desk.happen("sent", 0, shown("r1", signer("s1"), is_complete=False))
    desk.happen("viewed", 10, shown("r1", signer("s1", 10), is_complete=False), "s1")
    desk.happen("signed", 20, shown("r1", SIGNED_ROW, is_complete=False), "s1")
    desk.happen("all_signed", 20, shown())
    for _ in range(2):
        desk.later()
        desk.work_off()
    assert origins(desk)[-1] == ("downloadable", "reconciled")
    calls = desk.calls(Endpoint.REQUEST)
    desk.deployment.sweeper.once()
    desk.later()
    assert desk.calls(Endpoint.REQUEST) == calls, "once is enough"


def test_two_reconciles_release_once(desk: GapsDesk) -> None:
    desk.file("r1")
    desk.file("r1")
    desk.deployment.work(LANE)
    desk.work_off()
    desk.reconcile()
    assert [name for name, _ in origins(desk)] == STORY


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it runs."""


@pytest.mark.parametrize(
    "point", ["before the append", "after the append", "after the append, drained", "in the fetch"]
)
def test_a_reconcile_that_is_killed_anywhere_releases_everything_once(
    desk: GapsDesk, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    release = Synthesis.release

    def dies(*_arguments: Any) -> None:
        if threading.current_thread() is threading.main_thread():
            raise Killed

    def releases_and_dies(self: Synthesis, *arguments: Any) -> None:
        release(self, *arguments)
        raise Killed

    with monkeypatch.context() as patched:
        # Of a killed process nothing is committed, neither what the call did nor how it ended.
        patched.setattr(desk.deployment.lanes[LANE], "_commit", dies)
        if point == "in the fetch":
            patched.setattr(SignApi, "files", dies)
        else:
            patched.setattr(Synthesis, "release", dies if point == "before the append" else releases_and_dies)
        desk.file()
        with pytest.raises(Killed):
            desk.deployment.work(LANE)
    if point == "after the append, drained":
        desk.deployment.drain()
    expire_units(desk.state, "leased")
    desk.deployment.sweeper.once()
    desk.work_off()
    assert [name for name, _ in origins(desk)] == STORY
    assert len(desk.report()["released"]) == len(STORY), "the report is whole, whatever try released it"
    assert len(desk.told.calls) == 1


def test_a_decline_is_made_up_with_its_signer_and_reason(desk: GapsDesk) -> None:
    declined = signer("s2", 40) | {"status_code": "declined", "decline_reason": "No."}
    desk.api.state.put(shown("r1", signer("s1", 10, 20), declined, is_complete=False, is_declined=True))
    desk.reconcile()
    assert [name for name, _ in origins(desk)] == ["sent", "viewed", "signed", "viewed", "declined"]
    event, _ = desk.seen.calls[-1]
    assert (event.related_signature_id, event.time) == ("s2", T + 40)
    assert event.payload["event"]["event_metadata"]["event_message"] == "No."
    desk.happen("declined", 95, shown("r1", declined, is_declined=True, is_complete=False), "s2")
    assert desk.seen.types()[-1] == "declined"
    assert len(desk.seen.calls) == 5


def test_an_erased_request_is_not_brought_back(desk: GapsDesk) -> None:
    desk.file()
    desk.deployment.work(LANE)
    eraser = Eraser(
        desk.deployment.scripts, DocumentStore(FileTree(desk.settings.data_dir / "documents")), Retention()
    )
    eraser.erase(Subject("default", "signature_request/r1"), documents=True, by=Asker.OPERATOR)
    desk.work_off()
    desk.reconcile()
    assert desk.seen.calls == []


def test_a_simulated_request_is_not_asked_for_at_the_real_api(
    desk: GapsDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SignApi, "is_here", property(lambda _api: False))
    simulated = "simulated_" + "0" * 30
    desk.api.state.put(shown(simulated))
    desk.reconcile(simulated)
    assert (desk.seen.calls, desk.calls(Endpoint.REQUEST)) == ([], 0)


def test_what_may_have_been_forgotten_is_not_made_up(desk: GapsDesk) -> None:
    """Its callbacks may have come, longer ago than anything is remembered."""
    days_s = 20 * 86_400
    old = signer("s1", 10 - days_s, 20 - days_s)
    desk.api.state.put(shown("r1", old, signer("s2", 10, 20), created_at=T - days_s))
    desk.reconcile()
    assert [name for name, _ in origins(desk)] == ["viewed", "signed", "all_signed", "downloadable"]
    assert {event.related_signature_id for event, _ in desk.seen.calls} == {"s2", None}


def test_for_a_request_whose_order_cannot_be_read_nothing_is_made_up(desk: GapsDesk) -> None:
    """What came before cannot be told. A dead letter for each event would be no help either."""
    desk.happen("sent", 0, shown("r1", signer("s1"), is_complete=False))
    desk.state.set(keys.order("default:signature_request/r1"), b"damaged")
    desk.reconcile()
    assert origins(desk) == [("sent", "callback")]
    assert desk.deployment.letters() == []


def test_what_is_older_than_callbacks_may_be_is_made_up_all_the_same(begin: Open) -> None:
    desk = begin()
    sequencer = desk.deployment.sequencer
    sequencer._policy = replace(sequencer._policy, max_event_age_s=3600.0)
    desk.reconcile()
    assert [name for name, _ in origins(desk)] == STORY


def test_the_sweepers_desk_looks_for_what_would_be_made_up(begin: Open) -> None:
    settings = begin().settings
    assert Process(settings).desk.synthesises
    assert not Process(settings.model_copy(update={"synthesise": "off"})).desk.synthesises


def test_with_a_key_ring_nothing_of_it_lies_open(begin: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "_ring", KeyRing([b"k" * 32]))
    desk = begin()
    desk.file()
    desk.deployment.work(LANE)
    inbox: list[Any] = [
        entry for key in desk.state.scan_iter("deedbox:inbox:*") for entry in desk.state.lrange(key, 0, -1)
    ]
    assert len(inbox) == len(STORY)
    assert not any(b"Lease" in entry for entry in inbox)
    assert all(entry.partition(b"\n")[2].startswith(b'[1,"default"') and b"ring:" in entry for entry in inbox)
    desk.work_off()
    assert [name for name, _ in origins(desk)] == STORY
