"""An account whose callbacks carry no ``Content-Sha256``: everything is claimed, and a look-up makes answers of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from deedbox.ops.readmodels.requests import SignatureRequest, read
from deedbox.shared.core.signature import BodySignature
from deedbox.shared.redis import keys
from deedbox.shared.simulator.api_state import Endpoint
from deedbox.workers.builtins.reconcile import Reconcile
from deedbox.workers.dropbox_sign.account import NOT_FOUND_GRACE_S
from tests.component.workers.gaps_desk import (
    GapsDesk,
    Open,
    gap_desks,
    shown,
    signer,
)
from tests.component.workers.rig import members
from tests.component.workers.server import RedisServer

pytestmark = pytest.mark.real_redis

STREAM = "default:signature_request/r1"
NOT_SIGNED = shown("r1", signer("s1"), is_complete=False)


@pytest.fixture
def begin(redis_server: RedisServer, state: Redis, tmp_path: Path) -> Iterator[Open]:
    with gap_desks(redis_server.url, state, tmp_path) as build:
        yield build


def claim(
    desk: GapsDesk, event_type: str, at_s: int, request: dict[str, object], related: str | None = None
) -> None:
    desk.happen(event_type, at_s, request, related, BodySignature.ABSENT)


def ask(desk: GapsDesk) -> None:
    """Ask for what callbacks only claim, as a waiting client's request does, and let the sweeper and the lanes work."""
    desk.state.zadd(keys.CONFIRM_DUE, {STREAM: 1.0})
    desk.deployment.sweeper.once()
    desk.deployment.run()


def answer(desk: GapsDesk) -> SignatureRequest:
    found = read(desk.state, "default", "r1")
    assert found is not None
    return found


def test_a_claimed_sent_is_ready_to_sign_once_the_api_was_asked(begin: Open) -> None:
    desk = begin()
    desk.api.state.put(NOT_SIGNED)
    claim(desk, "sent", 0, NOT_SIGNED)
    assert (answer(desk).ready_to_sign, answer(desk).unconfirmed) == (False, True)
    assert desk.calls(Endpoint.REQUEST) == 0
    ask(desk)
    assert (answer(desk).ready_to_sign, answer(desk).trust["state"]) == (True, "confirmed")
    assert (desk.calls(Endpoint.REQUEST), desk.told.calls) == (1, []), (
        "nothing was missing, so nothing is reported"
    )
    assert members(desk.state, keys.CONFIRM_DUE) == []


def test_where_the_header_works_nothing_is_asked(begin: Open) -> None:
    desk = begin()
    desk.happen("sent", 0, NOT_SIGNED)
    ask(desk)
    assert answer(desk).ready_to_sign
    assert desk.calls(Endpoint.REQUEST) == 0


@pytest.mark.parametrize("verdict", [BodySignature.ABSENT, BodySignature.WRONG])
def test_a_forged_completion_is_corrected_by_the_api(begin: Open, verdict: BodySignature) -> None:
    desk = begin(DEEDBOX_BUILTINS="track_status,reconcile")
    desk.api.state.put(NOT_SIGNED)
    desk.happen("sent", 0, NOT_SIGNED)
    desk.happen("all_signed", 20, shown("r1", signer("s1", 1, 2), title="FORGED"), None, verdict)
    assert (answer(desk).state, answer(desk).complete) == ("all_signed", False)
    ask(desk)
    found = answer(desk)
    assert (found.state, found.complete, found.ready_to_sign, found.title) == (
        "sent",
        False,
        True,
        "Lease 7/12",
    )
    assert set(found.trust.values()) == {"confirmed"}


def test_a_whole_life_without_the_header_ends_complete_with_its_document(begin: Open) -> None:
    desk = begin()
    desk.api.state.put(shown())
    claim(desk, "sent", 0, NOT_SIGNED)
    claim(desk, "signed", 20, shown("r1", signer("s1", 10, 20), is_complete=False), "s1")
    claim(desk, "all_signed", 20, shown())
    claim(desk, "downloadable", 25, shown())
    found = answer(desk)
    assert (found.state, found.complete, found.trust["state"]) == ("downloadable", True, "confirmed")
    assert len(found.documents) == 1
    assert desk.calls(Endpoint.REQUEST) == 1, "the call that fetches confirms"


def test_without_documents_a_completion_is_confirmed_when_somebody_asks(begin: Open) -> None:
    desk = begin(DEEDBOX_BUILTINS="track_status,reconcile")
    desk.api.state.put(shown())
    claim(desk, "all_signed", 20, shown())
    assert not answer(desk).complete
    ask(desk)
    assert answer(desk).complete


def test_a_claim_about_a_request_that_the_api_does_not_know_costs_the_calls_of_one_grace(begin: Open) -> None:
    desk = begin()
    claim(desk, "sent", 0, NOT_SIGNED)
    ask(desk)
    assert (desk.calls(Endpoint.REQUEST), desk.deployment.waiting()) == (1, 1), (
        "it may be new: it is asked again"
    )
    reconcile = desk.deployment.registry.get("reconcile")
    assert reconcile is not None
    assert isinstance(reconcile.function, Reconcile)
    reconcile.function._accounts.clock = lambda: time.time() + NOT_FOUND_GRACE_S + 1
    desk.later()
    for asked_at in range(2, 9):
        desk.state.zadd(keys.CONFIRM_DUE, {STREAM: asked_at})
        desk.later()
    assert desk.calls(Endpoint.REQUEST) == 2
    assert (answer(desk).ready_to_sign, desk.told.calls, desk.deployment.letters()) == (False, [], [])


def test_a_claimed_cancel_closes_a_request_once_the_api_says_deleted(begin: Open) -> None:
    desk = begin()
    claim(desk, "sent", 0, NOT_SIGNED)
    claim(desk, "canceled", 9, {"signature_request_id": "r1", "title": ""})
    assert not answer(desk).closed
    desk.api.script("r1", [410], Endpoint.REQUEST)
    ask(desk)
    assert (answer(desk).closed, answer(desk).title) == (True, "Lease 7/12")
