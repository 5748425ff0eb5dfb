"""Gaps in what callbacks told are found without anybody asking, mended from the API, and told to other actions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from redis import Redis

from deedbox.ops.repair.replay import Replayer
from deedbox.shared.core.gaps import Findings, Gap
from deedbox.shared.documents import DocumentStore, FileTree
from deedbox.shared.records import queue_entry
from deedbox.shared.records.replay_order import ReplayOrder, ReplaySpan
from deedbox.shared.records.subscriptions import Subscription
from deedbox.shared.redis import keys
from deedbox.shared.redis.erasure import Asker, Eraser
from deedbox.shared.redis.request_keys import Subject
from deedbox.shared.retention import Retention
from deedbox.shared.simulator.api_state import Endpoint
from deedbox.workers.actions.interface import Context, Event
from deedbox.workers.actions.registry import Registry
from deedbox.workers.commands.listing import ListingPage, ListingTally, compare
from deedbox.workers.lanes.runner import LaneRunner
from deedbox.workers.sweeper.gaps import GapDesk, GapLook
from tests.component.workers.gaps_desk import (
    LANE,
    SIGNED,
    GapsDesk,
    Open,
    T,
    gap_desks,
    shown,
    signer,
)
from tests.component.workers.rig import expire, members, units
from tests.component.workers.server import RedisServer

pytestmark = pytest.mark.real_redis

LOST = "signature_request_signed|s1"
STREAM = "default:signature_request/r1"


@pytest.fixture
def begin(redis_server: RedisServer, state: Redis, tmp_path: Path) -> Iterator[Open]:
    with gap_desks(redis_server.url, state, tmp_path, shown()) as build:
        yield build


@pytest.fixture
def desk(begin: Open) -> GapsDesk:
    return begin()


def complete_but_for_the_document(desk: GapsDesk) -> None:
    """All callbacks but ``downloadable`` come, and the download is lost."""
    open_request = {"is_complete": False}
    desk.happen("sent", 0, shown("r1", signer("s1"), **open_request))
    desk.happen("viewed", 10, shown("r1", signer("s1", 10), **open_request), "s1")
    desk.happen("signed", 20, shown("r1", SIGNED, **open_request), "s1")
    desk.happen("all_signed", 20, shown())
    desk.forget_the_fetch()


def test_a_complete_request_without_a_document_gets_one(desk: GapsDesk) -> None:
    complete_but_for_the_document(desk)
    assert desk.documents() == 0
    desk.later()
    assert desk.documents() == 1
    assert desk.report() == {
        "signature_request_id": "r1", "gaps": ["no_document"], "missed": [], "repaired": ["document"],
        "released": [], "state": "all_signed", "reason": "",
    }  # fmt: skip
    assert desk.model()["reconciled"]["gaps"] == ["no_document"]
    [line] = [line for line in desk.deployment.timeline() if line["kind"] == "reconciled"]
    assert (line["action"], line["repaired"]) == ("reconcile", ["document"])
    assert len(desk.stored.calls) == 1


def test_what_was_mended_is_not_looked_at_again(desk: GapsDesk) -> None:
    complete_but_for_the_document(desk)
    desk.later()
    desk.later()
    assert (len(desk.told.calls), desk.calls(Endpoint.FILES)) == (1, 1)
    assert members(desk.state, keys.GAPS_DUE) == []
    assert desk.deployment.left() == 0


def test_a_request_without_a_gap_costs_no_call_and_no_event(desk: GapsDesk) -> None:
    complete_but_for_the_document(desk)
    desk.happen("downloadable", 30, shown())
    assert (desk.documents(), len(members(desk.state, keys.GAPS_DUE))) == (1, 1)
    before = desk.calls(Endpoint.REQUEST)
    desk.later()
    assert desk.calls(Endpoint.REQUEST) == before
    assert desk.told.calls == []
    assert members(desk.state, keys.GAPS_DUE) == []
    assert desk.deployment.counters()["gap_suspected"] == 0


def test_a_signed_callback_that_is_lost_for_good_is_named(desk: GapsDesk) -> None:
    open_request = {"is_complete": False}
    desk.happen("sent", 0, shown("r1", signer("s1"), **open_request))
    desk.happen("viewed", 10, shown("r1", signer("s1", 10), **open_request), "s1")
    desk.happen("downloadable", 40, shown())
    assert desk.documents() == 1
    desk.later()
    report = desk.report()
    assert report["gaps"] == ["fewer_signed", "predecessor_given_up"]
    assert report["missed"] == ["signature_request_all_signed|", LOST]
    assert (report["state"], report["reason"]) == ("downloadable", "")
    desk.happen("downloadable", 50, shown())
    desk.later()
    assert len(desk.told.calls) == 1


def test_a_callback_that_was_given_up_and_came_late_is_no_gap(desk: GapsDesk) -> None:
    desk.happen("sent", 0, shown("r1", signer("s1"), is_complete=False))
    desk.happen("signed", 20, shown("r1", SIGNED, is_complete=False), "s1")
    assert len(members(desk.state, keys.GAPS_DUE)) == 1
    desk.happen("viewed", 10, shown("r1", signer("s1", 10), is_complete=False), "s1")
    desk.later()
    assert desk.calls(Endpoint.REQUEST) == 0
    assert desk.told.calls == []


def test_a_lost_signature_is_found_when_it_is_too_old_to_be_waited_for(desk: GapsDesk) -> None:
    """The ordering rule waits for nothing older than four days; the count of signatures does not forget."""
    days_s = 5 * 86_400
    old, new = signer("s1", 10 - days_s, 20 - days_s), signer("s2", 10, 20)
    desk.happen("signed", 20, shown("r1", old, new, is_complete=False, created_at=None), "s2")
    desk.happen("all_signed", 20, shown("r1", old, new, created_at=None))
    desk.later()
    assert LOST in desk.report()["missed"]
    assert "fewer_signed" in desk.report()["gaps"]


def test_two_sweepers_that_look_at_once_ask_once(desk: GapsDesk) -> None:
    """Both have read what is due before either ends its look."""
    complete_but_for_the_document(desk)
    expire(desk.state, keys.GAPS_DUE)
    gaps = Findings((Gap.NO_DOCUMENT,))
    desks = [GapDesk(desk.deployment.scripts, lambda _lane: None, fetches=True) for _ in range(2)]
    looks = [GapLook(STREAM, 0.0, gaps, asked_by={"due": 0.0, "sweeper": number}) for number in range(2)]
    assert [each.file([look], T) for each, look in zip(desks, looks, strict=True)] == [1, 0]
    assert members(desk.state, keys.GAPS_DUE) == []
    desk.deployment.run()
    assert len(desk.told.calls) == 1


def test_a_look_whose_answer_was_lost_is_ended_once(desk: GapsDesk) -> None:
    """The client sends the script again, which has taken effect; another stream's look is beside it."""
    complete_but_for_the_document(desk)
    look = GapLook(STREAM, None, Findings((Gap.NO_DOCUMENT,)), asked_by={"run": "r"})
    twice = GapDesk(desk.deployment.scripts, lambda _lane: None, fetches=True)
    assert [twice.file([look], T), twice.file([look], T)] == [1, 0]


def test_a_look_that_was_put_off_meanwhile_stays(desk: GapsDesk) -> None:
    """The sequencer releases something more while a sweeper looks: its score tells."""
    complete_but_for_the_document(desk)
    desk.state.zadd(keys.GAPS_DUE, {STREAM: 4_000_000_000})
    late = GapDesk(desk.deployment.scripts, lambda _lane: None, fetches=True)
    assert (
        late.file([GapLook(STREAM, 5.0, Findings()), GapLook(STREAM, 5.0, Findings((Gap.BEHIND,)))], T) == 0
    )
    assert members(desk.state, keys.GAPS_DUE) == [STREAM.encode()]


def test_a_request_that_the_api_shows_as_incomplete_is_looked_at_some_times_only(desk: GapsDesk) -> None:
    """The callback's body is not signed: it may claim anything."""
    desk.api.state.put(shown("r1", signer("s1"), is_complete=False))
    complete_but_for_the_document(desk)
    desk.later()
    [unit] = units(desk.state, "waiting")
    [entry] = desk.state.lrange(keys.queue(unit.decode()), 0, -1)
    assert desk.told.calls == []
    packed = queue_entry.load(entry)
    assert packed
    waited_for_days = replace(packed, first_failed_at=1000.0)
    desk.state.lset(keys.queue(unit.decode()), 0, queue_entry.dump(waited_for_days))
    desk.later()
    report = desk.report()
    assert (report["gaps"], report["repaired"]) == (["no_document"], [])
    assert report["reason"] == "the API does not show the request as complete"
    assert desk.deployment.left() == 0


def test_a_request_of_which_the_account_is_only_a_recipient_is_noted_and_not_told(desk: GapsDesk) -> None:
    complete_but_for_the_document(desk)
    desk.api.script("r1", [403] * 9, Endpoint.REQUEST)
    for _ in range(3):
        desk.later()
    assert (desk.deployment.letters(), desk.deployment.left(), desk.told.calls) == ([], 0, [])
    notes = [line["detail"] for line in desk.deployment.timeline() if line["kind"] == "note"]
    assert len(notes) == 1
    assert "only a recipient" in notes[0]


@pytest.mark.parametrize("status", [404, 410])
def test_what_the_api_will_not_show_ends_with_a_reason(desk: GapsDesk, status: int) -> None:
    complete_but_for_the_document(desk)
    desk.api.script("r1", [status], Endpoint.REQUEST)
    desk.later()
    assert (desk.deployment.letters(), desk.deployment.left()) == ([], 0)
    assert str(status) in desk.report()["reason"]
    assert desk.report()["repaired"] == []


@pytest.mark.parametrize("status", [401, 402])
def test_an_account_that_the_api_refuses_is_a_dead_letter(desk: GapsDesk, status: int) -> None:
    complete_but_for_the_document(desk)
    desk.api.script("r1", [status], Endpoint.REQUEST)
    desk.later()
    [letter] = desk.deployment.letters()
    assert (letter["reason"], letter["action"]) == (b"rejected", b"reconcile")


def test_looks_stay_within_the_accounts_budget(begin: Open) -> None:
    desk = begin(DEEDBOX_API_PER_MINUTE="2")
    for number in range(5):
        request_id = f"q{number}"
        desk.api.state.put(shown(request_id))
        desk.happen("all_signed", 20, shown(request_id))
    desk.forget_the_fetch()
    before = desk.calls(Endpoint.REQUEST)
    desk.later()
    assert desk.calls(Endpoint.REQUEST) - before <= 2
    assert (desk.deployment.waiting(), desk.deployment.letters()) == (3, [])


@pytest.mark.parametrize("endpoint", [Endpoint.REQUEST, Endpoint.FILES])
@pytest.mark.parametrize("status", [429, 503])
def test_a_call_that_must_wait_mends_later_and_tells_once(
    desk: GapsDesk, endpoint: Endpoint, status: int
) -> None:
    complete_but_for_the_document(desk)
    desk.api.script("r1", [status], endpoint)
    desk.later()
    assert (desk.deployment.waiting(), desk.documents()) == (1, 0)
    desk.state.delete("none", *desk.state.keys(keys.PREFIX + "api:pause:*"))
    desk.later()
    assert (desk.documents(), len(desk.told.calls)) == (1, 1)
    assert desk.report()["repaired"] == ["document"]


def test_a_call_that_a_crash_repeats_tells_the_same_and_fetches_nothing_twice(desk: GapsDesk) -> None:
    complete_but_for_the_document(desk)
    whole = desk.deployment.registry.get("reconcile")
    assert whole is not None

    def no_commit(event: Event, context: Context) -> None:
        whole.function(event, context)
        raise RuntimeError("killed")

    dying = Registry([replace(whole, function=no_commit)])
    runner = LaneRunner(LANE, desk.deployment.scripts, dying, lambda _lane: None, lambda: 0.0)
    expire(desk.state, keys.GAPS_DUE)
    desk.deployment.sweeper.once()
    assert runner.drain_one("dying")
    assert (desk.documents(), desk.told.calls) == (1, [])
    desk.later()
    assert (desk.calls(Endpoint.FILES), len(desk.told.calls)) == (1, 1)
    assert desk.report()["repaired"] == ["document"]


def test_a_late_callback_after_the_repair_is_processed_and_fetches_nothing(desk: GapsDesk) -> None:
    complete_but_for_the_document(desk)
    desk.later()
    desk.happen("downloadable", 30, shown())
    assert (desk.documents(), desk.calls(Endpoint.FILES)) == (1, 1)
    assert desk.model()["state"] == "downloadable"


def test_gaps_are_not_looked_for_where_that_is_switched_off(begin: Open) -> None:
    for setting in ({"DEEDBOX_GAP_AFTER_S": "0"}, {"DEEDBOX_BUILTINS": "track_status"}):
        desk = begin(**setting)
        desk.happen("all_signed", 20, shown())
        assert members(desk.state, keys.GAPS_DUE) == []


def erase(desk: GapsDesk) -> None:
    store = DocumentStore(FileTree(desk.settings.data_dir / "documents"))
    eraser = Eraser(desk.deployment.scripts, store, Retention())
    eraser.erase(Subject("default", "signature_request/r1"), documents=True, by=Asker.OPERATOR)


def test_an_erased_request_is_not_looked_for_and_never_comes_back(desk: GapsDesk) -> None:
    complete_but_for_the_document(desk)
    erase(desk)
    assert members(desk.state, keys.GAPS_DUE) == []
    asked = GapDesk(desk.deployment.scripts, lambda _lane: None, fetches=True)
    assert asked.known([STREAM]) == {}
    assert asked.file([GapLook(STREAM, None, Findings((Gap.NEVER_SEEN,)), asked_by={"run": "r"})], T) == 0
    tally = ListingTally()
    compare(asked, "default", ListingPage([shown()], 1, 1), tally, since=0, now=T + 10_000)
    assert (tally.listed, tally.missing) == (1, [])


def test_a_repair_that_meets_an_erasure_leaves_nothing_behind(desk: GapsDesk) -> None:
    complete_but_for_the_document(desk)
    expire(desk.state, keys.GAPS_DUE)
    desk.deployment.sweeper.once()
    whole = desk.deployment.registry.get("reconcile")
    assert whole is not None

    def erased_meanwhile(event: Event, context: Context) -> None:
        whole.function(event, context)
        erase(desk)

    runner = LaneRunner(
        LANE,
        desk.deployment.scripts,
        Registry([replace(whole, function=erased_meanwhile)]),
        lambda _lane: None,
    )
    assert runner.drain_one("late")
    desk.deployment.run()
    assert (desk.documents(), desk.model(), desk.told.calls) == (0, {}, [])
    assert desk.deployment.timeline() == []


def test_what_was_told_can_be_replayed_for_an_action_that_missed_it(desk: GapsDesk) -> None:
    complete_but_for_the_document(desk)
    desk.later()
    before = desk.report()
    replayer = Replayer(desk.deployment.scripts, desk.deployment.rung.append)
    order = ReplayOrder(("told",), ReplaySpan(), "default", "signature_request/r1")
    plan = replayer.plan(order, [Subscription("told", ("deedbox.reconciled",), "hooks")])

    assert (replayer.carry_out(plan).appended, plan.late) == (1, 0)
    desk.deployment.run()

    assert len(desk.told.calls) == 2
    assert desk.report() == before
    assert desk.told.calls[-1][1].replay
