"""What somebody who knows one ``event_hash`` can store is bounded, and displaces nothing that the vendor signed."""

from __future__ import annotations

import base64
import os
from dataclasses import replace
from typing import Any

import pytest
from redis import Redis

from deedbox.ops.repair.deadletters import DeadLetters, Selection
from deedbox.ops.repair.redrive import Redriver
from deedbox.shared.core.signature import BodySignature
from deedbox.shared.redis import keys
from deedbox.workers.sequencer.quota_policy import QuotaPolicy
from tests.component.workers.rig import Deployment, Journal, P, action, callback, members, sent

pytestmark = pytest.mark.real_redis

QUOTA = QuotaPolicy(facts=3, bytes=20_000, bodies=2, life_s=60)


@pytest.fixture
def deployment(state: Redis, journal: Journal) -> Deployment:
    found = Deployment(state, action(journal))
    sequencer = found.sequencer
    sequencer._policy = replace(sequencer._policy, quotas=QUOTA)
    return found


def claim(deployment: Deployment, *bodies: bytes, verdict: BodySignature = BodySignature.ABSENT) -> None:
    """Send callbacks that the vendor did not sign."""
    deployment.deliver(*bodies, verdict=verdict)


def calls_about(journal: Journal) -> list[str | None]:
    return [event.signature_request_id for event, _ in journal.calls]


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("verdict", [BodySignature.ABSENT, BodySignature.WRONG])
def test_of_one_type_and_second_so_many_facts_are_kept_and_one_letter_counts_the_rest(
    deployment: Deployment, journal: Journal, verdict: BodySignature, *, together: bool
) -> None:
    forged = [sent(0, f"forged{number}") for number in range(10)]
    for part in [forged] if together else [[each] for each in forged]:
        claim(deployment, *part, verdict=verdict)
        deployment.run()
    assert len(calls_about(journal)) == 3
    (letter,) = deployment.letters()
    assert (letter["reason"], letter["count"]) == (b"flooded", b"7")
    assert deployment.counters()["flooded"] == 7
    assert len(list(deployment.redis.scan_iter(keys.timeline("*")))) == 3


def test_another_second_another_type_and_another_source_have_their_own(
    deployment: Deployment, journal: Journal
) -> None:
    claim(deployment, *(sent(0, f"forged{number}") for number in range(9)))
    claim(deployment, sent(1, "later"))
    claim(deployment, callback(P + "remind", 0, "reminded"))
    deployment.deliver(sent(0, "tenant"), source="tenant", verdict=BodySignature.ABSENT)
    deployment.run()
    assert {"later", "reminded", "tenant"} <= set(calls_about(journal))


def test_what_the_vendor_signed_is_neither_counted_nor_dropped(
    deployment: Deployment, journal: Journal
) -> None:
    claim(deployment, *(sent(0, f"forged{number}") for number in range(9)))
    deployment.deliver(*(sent(0, f"bulk{number}") for number in range(9)), verdict=BodySignature.VALID)
    deployment.run()
    assert {f"bulk{number}" for number in range(9)} <= set(calls_about(journal))


def test_a_repeat_of_a_kept_fact_is_a_duplicate_and_uses_nothing(deployment: Deployment) -> None:
    for _ in range(5):
        claim(deployment, *(sent(0, f"r{number}") for number in range(3)))
        deployment.run()
    assert deployment.letters() == []
    assert deployment.counters()["duplicate"] == 12


def test_bytes_are_bounded_too(deployment: Deployment, journal: Journal) -> None:
    noise = [os.urandom(9_000).hex() for _ in range(3)]
    claim(deployment, *(sent(0, f"large{number}", message=text) for number, text in enumerate(noise)))
    deployment.run()
    assert len(journal.calls) == 3 - int(deployment.letters()[0]["count"])
    assert 1 <= len(journal.calls) < 3


@pytest.mark.parametrize("together", [True, False])
def test_of_one_fact_so_many_other_bodies_are_kept(
    deployment: Deployment, journal: Journal, *, together: bool
) -> None:
    bodies = [sent(0, "r1", title=f"title {number}") for number in range(8)]
    for part in [bodies] if together else [[each] for each in bodies]:
        claim(deployment, *part)
        deployment.run()
    assert len(journal.calls) == 1
    kept = [
        each for each in members(deployment.redis, keys.seen("default:signature_request/r1")) if b":" in each
    ]
    assert len(kept) == QUOTA.bodies
    assert [letter["count"] for letter in deployment.letters()] == [b"5"]


def test_a_better_body_comes_through_a_flood_of_worse_ones(deployment: Deployment, journal: Journal) -> None:
    claim(deployment, *(sent(0, "r1", title=f"forged {number}") for number in range(9)))
    deployment.deliver(sent(0, "r1", title="genuine"), verdict=BodySignature.VALID)
    deployment.run()
    assert journal.calls[-1][0].payload["signature_request"]["title"] == "genuine"


def test_a_letter_that_a_person_discarded_is_filed_anew_and_none_can_be_redriven(
    deployment: Deployment,
) -> None:
    letters = DeadLetters(deployment.scripts)
    for number in range(2):
        claim(deployment, *(sent(0, f"forged{number}-{each}") for each in range(9)))
        deployment.run()
        found = letters.select(Selection())
        assert [letter.count for letter in found] == ["6" if number == 0 else "9"]
        assert Redriver(deployment.scripts, deployment.rung.append).plan(found).steps == []
        letters.discard(found)


def test_what_is_counted_ends(deployment: Deployment) -> None:
    claim(deployment, sent(0, "forged"))
    deployment.run()
    (quota,) = deployment.redis.scan_iter(keys.quota("*"))
    assert 0 < deployment.redis.ttl(quota) <= QUOTA.life_s


def test_a_small_redis_gives_a_hash_a_small_part_of_it() -> None:
    assert QuotaPolicy.of(0, 0).bytes == 64 * 1024 * 1024
    assert QuotaPolicy.of(0, 0, 64_000_000).bytes == 4_000_000
    assert QuotaPolicy.of(345_600, 0).life_s == 5 * 86_400


def test_a_redis_with_a_limit_keeps_room_for_genuine_callbacks(
    deployment: Deployment, journal: Journal
) -> None:
    """Without a bound, 40 forged callbacks of a megabyte would fill it for weeks."""
    redis = deployment.redis
    used: Any = redis.info("memory")
    limit = used["used_memory"] + 24_000_000
    redis.config_set("maxmemory", limit)
    try:
        sequencer = deployment.sequencer
        quotas = QuotaPolicy.of(0, 60, limit)
        sequencer._policy = replace(sequencer._policy, quotas=quotas)
        for number in range(40):
            noise = base64.b64encode(os.urandom(700_000)).decode()
            claim(deployment, sent(0, f"forged{number}", message=noise))
            deployment.run()
        claim(deployment, sent(1, "genuine"))
        deployment.run()
        after: Any = redis.info("memory")
        assert after["used_memory"] - used["used_memory"] < 8_000_000
        assert calls_about(journal)[-1] == "genuine"
    finally:
        redis.config_set("maxmemory", 0)
