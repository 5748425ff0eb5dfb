"""``event.last_known``: what the callbacks of a request have shown, for the one that shows nothing."""

from __future__ import annotations

from typing import Any

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry as Patience

from deedbox.shared.core.signature import BodySignature
from deedbox.shared.records.stored_event import StoredEvent
from deedbox.workers.actions.interface import Context, Event, Retry
from deedbox.workers.actions.snapshots import RequestSnapshot
from deedbox.workers.lanes import recall
from tests.component.workers.rig import Deployment, P, action, callback, sent, viewed

pytestmark = pytest.mark.real_redis

NO_RETRY = Patience(NoBackoff(), 0)
GUTTED: dict[str, Any] = {"title": "", "metadata": {}, "created_at": 0}


class Asking:
    """An action that looks at what is known."""

    def __init__(self) -> None:
        self.known: dict[str, RequestSnapshot | None] = {}

    def __call__(self, event: Event, _context: Context) -> None:
        self.known[event.type.removeprefix(P)] = event.last_known


def known_at_cancel(state: Redis, *earlier: tuple[bytes, BodySignature]) -> RequestSnapshot:
    asking = Asking()
    deployment = Deployment(state, action(asking))
    for body, verdict in earlier:
        deployment.deliver(body, verdict=verdict)
        deployment.run()
    deployment.deliver(callback(P + "canceled", 9, **GUTTED))
    deployment.run()
    known = asking.known["canceled"]
    assert known is not None
    return known


def test_a_gutted_cancel_still_has_its_metadata_and_signers(state: Redis) -> None:
    known = known_at_cancel(
        state,
        (sent(title="Lease", metadata={"order": "7"}), BodySignature.VALID),
        (viewed(3, title="Lease", metadata={"order": "7"}), BodySignature.VALID),
    )
    assert (known.title, known.metadata) == ("Lease", {"order": "7"})
    assert [each.signature_id for each in known.signatures] == ["s1"]


def test_what_nobody_signed_does_not_displace_what_the_vendor_signed(state: Redis) -> None:
    known = known_at_cancel(
        state,
        (sent(title="Lease", metadata={"order": "7"}), BodySignature.VALID),
        (viewed(3, title="Forged", metadata={"order": "8"}, client_id="c"), BodySignature.ABSENT),
    )
    assert (known.title, known.metadata, known.client_id) == ("Lease", {"order": "7"}, "c")


def test_an_action_that_does_not_ask_causes_no_look(state: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[str] = []

    def look(_redis: Redis, stream: str) -> list[StoredEvent]:
        looks.append(stream)
        return []

    monkeypatch.setattr(recall, "stored_events", look)
    deployment = Deployment(state, action(lambda event, _context: event.signature_request and None))
    deployment.deliver(sent())
    deployment.run()
    assert looks == []


def test_the_look_puts_the_call_off_while_redis_is_away() -> None:
    with Redis(port=1, retry=NO_RETRY) as away, pytest.raises(Retry, match="does not answer"):
        recall.recall(away, "default:signature_request/r1")


def test_the_look_reads_a_bounded_number_of_events(state: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall, "FIRST", 1)
    monkeypatch.setattr(recall, "LAST", 2)
    asking = Asking()
    deployment = Deployment(state, action(asking))
    deployment.deliver(*(viewed(3 + at, title=f"T{at}") for at in range(6)))
    deployment.drain()
    read = recall.stored_events(state, "default:signature_request/r1")
    assert len(read) == 3
