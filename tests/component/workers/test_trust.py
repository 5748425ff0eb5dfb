"""Trust is a property of the data: a better body of a fact wins, before and after its release; claims decide nothing."""

from __future__ import annotations

from typing import Any

import pytest
from redis import Redis

from deedbox.shared.core.signature import BodySignature
from deedbox.shared.redis import keys
from deedbox.workers.builtins import track_status
from tests.component.workers.rig import (
    CREATED_AT,
    Deployment,
    Journal,
    P,
    action,
    callback,
    members,
    sent,
    stored_model,
    viewed,
)
from tests.support.stored import event_at

pytestmark = pytest.mark.real_redis

STREAM = "default:signature_request/r1"
WORSE = [
    (BodySignature.WRONG, BodySignature.ABSENT),
    (BodySignature.WRONG, BodySignature.VALID),
    (BodySignature.ABSENT, BodySignature.VALID),
]


@pytest.fixture
def deployment(state: Redis, journal: Journal) -> Deployment:
    return Deployment(state, action(journal), track_status.registered())


def model(state: Redis) -> dict[str, Any]:
    return stored_model(state, STREAM)


def titles(journal: Journal) -> list[tuple[str, str]]:
    return [(event.payload["signature_request"].get("title"), event.trust) for event, _ in journal.calls]


def forged_view(**more: Any) -> bytes:
    """Return a viewed whose snapshot invents a predecessor."""
    rows = [{"signature_id": "s1", "last_viewed_at": CREATED_AT + 5},
            {"signature_id": "invented", "signed_at": CREATED_AT + 1}]  # fmt: skip
    return callback(P + "viewed", 5, related="s1", created_at=CREATED_AT, signatures=rows, **more)


@pytest.mark.parametrize(("worse", "better"), WORSE)
def test_a_better_body_that_comes_before_the_release_is_the_one_that_is_dispatched(
    deployment: Deployment, journal: Journal, worse: BodySignature, better: BodySignature
) -> None:
    deployment.deliver(sent())
    deployment.deliver(forged_view(title="FORGED"), verdict=worse)
    deployment.run()
    assert journal.types() == ["sent"], "the forged snapshot makes it wait"
    deployment.deliver(viewed(5, title="Lease"), verdict=better)
    deployment.run()
    assert journal.types() == ["sent", "viewed"], "the better body waits for nothing"
    assert titles(journal)[-1] == ("Lease", {"valid": "attested", "absent": "claimed"}[better])
    assert members(deployment.redis, keys.HELD) == []


@pytest.mark.parametrize(("worse", "better"), WORSE)
@pytest.mark.parametrize("batches", [1, 2])
def test_a_better_body_that_comes_after_the_release_is_what_readers_see(
    deployment: Deployment, state: Redis, worse: BodySignature, better: BodySignature, batches: int
) -> None:
    deployment.deliver(sent(title="FORGED", metadata={"iban": "attacker"}), verdict=worse)
    if batches > 1:
        deployment.run()
        assert model(state)["title"] == "FORGED"
    deployment.deliver(sent(title="Lease"), verdict=better)
    deployment.run()
    trust = {"valid": "attested", "absent": "claimed"}[better]
    assert event_at(state, keys.event(deployment.timeline()[0]["event"])).body_signature is better
    assert model(state)["title"] == "Lease"
    [conflict] = [line for line in deployment.timeline() if line["kind"] == "conflict"]
    kept = f"{conflict['event']}:{conflict['body']}"
    assert event_at(state, keys.event(kept)).body_signature is worse
    assert (conflict["better"], deployment.counters()["better_body"]) == (trust, 1)


@pytest.mark.parametrize(("first", "second"), [*((a, a) for a in BodySignature), *((b, a) for a, b in WORSE)])
def test_of_two_bodies_of_a_level_the_first_stays_and_a_worse_one_replaces_nothing(
    deployment: Deployment, journal: Journal, state: Redis, first: BodySignature, second: BodySignature
) -> None:
    deployment.deliver(sent(title="first"), verdict=first)
    deployment.run()
    deployment.deliver(sent(title="second"), verdict=second)
    deployment.run()
    assert [title for title, _ in titles(journal)] == ["first"]
    assert model(state)["title"] == "first"
    assert deployment.kinds().count("conflict") == 1
    assert deployment.counters()["better_body"] == 0


def test_the_same_body_with_a_valid_header_raises_the_level(deployment: Deployment, state: Redis) -> None:
    for verdict in (BodySignature.ABSENT, BodySignature.VALID):
        deployment.deliver(sent(title="Lease"), verdict=verdict)
        deployment.run()
    assert model(state)["trust"]["state"] == "attested"
    assert model(state)["ready_to_sign"]
    assert "conflict" not in deployment.kinds()


def test_what_was_released_is_told_to_the_read_model_alone(deployment: Deployment, journal: Journal) -> None:
    for verdict in BodySignature.ABSENT, BodySignature.VALID:
        deployment.deliver(sent(title=str(verdict)), verdict=verdict)
        deployment.run()
    assert journal.types() == ["sent"]
    assert deployment.left() == 0


def test_a_better_body_of_an_event_that_was_set_aside_is_not_dispatched(
    state: Redis, journal: Journal
) -> None:
    deployment = Deployment(state, action(journal), max_event_age_s=60)
    tracking = track_status.registered()
    deployment = Deployment(state, action(journal), tracking, max_event_age_s=60)
    for verdict in BodySignature.ABSENT, BodySignature.VALID:
        deployment.deliver(sent(title=str(verdict)), verdict=verdict, received_at=CREATED_AT + 600)
        deployment.run()
    assert (journal.calls, deployment.reasons(), model(state)) == ([], ["too_old"], {})


def test_a_forged_completion_completes_nothing(deployment: Deployment, state: Redis) -> None:
    deployment.deliver(sent())
    deployment.deliver(callback(P + "all_signed", 9, is_complete=True), verdict=BodySignature.WRONG)
    deployment.run()
    found = model(state)
    assert (found["state"], found["trust"]["state"]) == ("all_signed", "disputed")
    assert (found["complete"], found["ready_to_sign"]) == (False, True)
