"""``DEEDBOX_BODY_SIGNATURE=auto``: once a source has shown that it signs, what is not signed is set aside, never refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from deedbox.ops.repair.deadletters import DeadLetters
from deedbox.ops.repair.redrive import Redriver
from deedbox.shared.core.signature import ENOUGH_VALID, RECENT_S, BodySignature, SignatureEvidence
from deedbox.shared.documents import DocumentStore, FileTree
from deedbox.shared.redis import keys
from deedbox.shared.redis.erasure import Asker, Eraser
from deedbox.shared.redis.request_keys import Subject
from deedbox.shared.retention import Retention
from deedbox.workers.bridge.bridge import redrive
from deedbox.workers.builtins import read_model, track_status
from tests.component.workers.rig import CREATED_AT, Deployment, Journal, P, action, callback, sent, viewed

pytestmark = pytest.mark.real_redis

UNSIGNED = [BodySignature.ABSENT, BodySignature.WRONG]
STREAM = "default:signature_request/r1"


@pytest.fixture
def deployment(state: Redis, journal: Journal) -> Deployment:
    return Deployment(state, action(journal), body_signature="auto")


def prove(deployment: Deployment, count: int = ENOUGH_VALID) -> None:
    """Let a source show that it signs."""
    deployment.deliver(*(sent(request_id=f"proof{number}") for number in range(count)))
    deployment.run()


def evidence(state: Redis) -> SignatureEvidence:
    row: Any = state.hmget(keys.evidence("default"), ["valid", "last_valid_at", "wrong_at"])
    return SignatureEvidence.read(*row)


def titles(journal: Journal) -> list[str]:
    return [event.payload["signature_request"].get("title", "") for event, _ in journal.calls
            if event.signature_request_id == "r1"]  # fmt: skip


@pytest.mark.parametrize("verdict", UNSIGNED)
def test_until_a_source_has_shown_that_it_signs_everything_is_dispatched(
    deployment: Deployment, journal: Journal, verdict: BodySignature
) -> None:
    prove(deployment, ENOUGH_VALID - 1)
    deployment.deliver(sent(title="Lease"), verdict=verdict)
    deployment.run()
    assert (titles(journal), deployment.letters()) == (["Lease"], [])


@pytest.mark.parametrize("verdict", UNSIGNED)
def test_from_then_on_what_is_not_signed_is_set_aside_and_can_be_sent_again(
    deployment: Deployment, journal: Journal, verdict: BodySignature
) -> None:
    prove(deployment)
    for _ in range(3):
        deployment.deliver(sent(title="Lease"), verdict=verdict)
        deployment.run()
    assert (titles(journal), deployment.reasons()) == ([], ["unsigned"]), (
        "a repeat is a duplicate, no second letter"
    )
    assert (deployment.counters()["unsigned"], deployment.counters()["duplicate"]) == (1, 2)

    letters = DeadLetters(deployment.scripts)
    redriver = Redriver(deployment.scripts, deployment.rung.append)
    tally = redriver.carry_out(redriver.plan(list(letters.newest_first())))
    assert tally.redriven == 1
    bridged(deployment)
    assert (titles(journal), deployment.letters()) == (["Lease"], [])
    assert {event.trust for event, _ in journal.calls if event.signature_request_id == "r1"} <= {
        "claimed",
        "disputed",
    }


def bridged(deployment: Deployment) -> None:
    """Let the bridge hand over what was sent again."""
    redrive(deployment.scripts, deployment.rung.append)
    deployment.run()


@pytest.mark.parametrize("batches", [1, 2])
@pytest.mark.parametrize("verdict", UNSIGNED)
def test_a_forged_body_that_comes_first_does_not_make_the_genuine_one_its_duplicate(
    deployment: Deployment, journal: Journal, verdict: BodySignature, batches: int
) -> None:
    prove(deployment)
    deployment.deliver(sent(title="FORGED"), verdict=verdict)
    if batches > 1:
        deployment.run()
    deployment.deliver(sent(title="Lease"))
    deployment.run()
    assert titles(journal) == ["Lease"]


def test_an_unsigned_repeat_of_a_known_event_is_a_duplicate_and_no_letter(
    deployment: Deployment, journal: Journal
) -> None:
    prove(deployment)
    deployment.deliver(sent(title="Lease"))
    deployment.run()
    deployment.deliver(sent(title="Lease"), verdict=BodySignature.ABSENT)
    deployment.run()
    assert (titles(journal), deployment.letters()) == (["Lease"], [])


def test_forged_wrong_headers_neither_stop_it_nor_bring_it_back(deployment: Deployment, state: Redis) -> None:
    prove(deployment)
    for number in range(50):
        deployment.deliver(sent(request_id=f"forged{number}"), verdict=BodySignature.WRONG)
    deployment.run()
    found = evidence(state)
    assert (found.valid, found.wrong_at) == (ENOUGH_VALID, None)
    assert found.proves(found.last_valid_at + RECENT_S - 1)
    assert not found.proves(found.last_valid_at + RECENT_S + 1), (
        "a proxy may have begun to take the header away"
    )


def test_a_replayed_callback_proves_nothing(deployment: Deployment, state: Redis) -> None:
    for _ in range(ENOUGH_VALID * 2):
        deployment.deliver(sent())
    deployment.run()
    assert evidence(state).valid == 1


def test_a_wrong_header_of_what_the_api_confirms_begins_the_proof_anew(
    deployment: Deployment, state: Redis
) -> None:
    """Then Deedbox reads the header wrongly, and must not set genuine callbacks aside."""
    tracking = Deployment(state, track_status.registered())
    tracking.deliver(sent(title="Lease"), verdict=BodySignature.WRONG)
    tracking.run()
    prove(deployment)
    assert evidence(state).valid == ENOUGH_VALID
    shown = {
        "title": "Lease",
        "created_at": CREATED_AT,
        "signatures": [{"status_code": "awaiting_signature"}],
    }
    for asked_at in (CREATED_AT + 5, CREATED_AT + 9):
        read_model.confirm(tracking.scripts, STREAM, shown, asked_at, Retention())
        assert evidence(state).wrong_at == CREATED_AT + 5, "once for what it said, not once for each look-up"
    assert evidence(state).valid == 0


def test_a_wrong_header_of_what_the_api_denies_is_a_forgery(deployment: Deployment, state: Redis) -> None:
    tracking = Deployment(state, track_status.registered())
    forged = callback(P + "all_signed", 9, created_at=CREATED_AT, title="Lease", is_complete=True)
    tracking.deliver(forged, verdict=BodySignature.WRONG)
    tracking.run()
    prove(deployment)
    shown = {
        "title": "Lease",
        "created_at": CREATED_AT,
        "signatures": [{"status_code": "awaiting_signature"}],
    }
    read_model.confirm(tracking.scripts, STREAM, shown, CREATED_AT + 10, Retention())
    assert (evidence(state).valid, evidence(state).wrong_at) == (ENOUGH_VALID, None)


def test_sources_prove_themselves(deployment: Deployment, journal: Journal) -> None:
    prove(deployment)
    deployment.deliver(sent(title="Lease"), source="emea", verdict=BodySignature.ABSENT)
    deployment.run()
    assert titles(journal) == ["Lease"]


def test_what_was_set_aside_is_erased_with_its_request(deployment: Deployment, state: Redis) -> None:
    prove(deployment)
    deployment.deliver(sent(), viewed(5))
    deployment.deliver(viewed(7, title="Jane"), verdict=BodySignature.ABSENT)
    deployment.run()
    assert len(deployment.letters()) == 1
    eraser = Eraser(deployment.scripts, DocumentStore(FileTree(Path("/nonexistent"))), Retention())
    eraser.erase(Subject("default", "signature_request/r1"), documents=False, by=Asker.OPERATOR)
    assert deployment.letters() == []
    assert set(state.scan_iter("*r1*")) == {keys.erased(STREAM).encode()}
