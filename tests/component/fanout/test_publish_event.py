"""``publish_event`` on real brokers: what other services receive, and what a crash or an outage does to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest
from redis import Redis

from deedbox.shared.broker.port import Topics
from deedbox.shared.core.callback import outward
from deedbox.shared.redis import inbox, keys
from deedbox.shared.redis.scripting import Scripts
from deedbox.workers.actions import Context, Event
from deedbox.workers.actions.registry import RegisteredAction
from deedbox.workers.builtins.publish_event import PublishEvent, registered
from tests.component.fanout.conftest import Broker
from tests.component.fanout.receiver import Receiver, short
from tests.component.workers.fleet import Fleet
from tests.component.workers.rig import CREATED_AT, TRACE, Deployment, P, callback, envelope, sent, viewed
from tests.component.workers.server import RedisServer, until
from tests.support.brokers import broker_at

pytestmark = [pytest.mark.real_redis, pytest.mark.timeout(180)]


@pytest.fixture
def bus(broker: Broker) -> Iterator[Topics]:
    made = broker_at(broker.url).topics()
    yield made
    made.close()


@pytest.fixture
def deployment(state: Redis, bus: Topics) -> Deployment:
    return Deployment(state, registered(PublishEvent(bus)))


def test_other_services_receive_each_fact_once_and_in_order(
    deployment: Deployment, receiver: Receiver
) -> None:
    deployment.deliver(viewed(5), sent(), viewed(5), sent(request_id="r2"))
    deployment.run()

    events = receiver.events(3)

    assert short(events) == ["sent", "viewed"]
    assert short(events, "r2") == ["sent"]
    assert len({event["idempotency_key"] for event in events}) == 3


def test_a_message_says_what_it_is_in_its_body_and_in_its_headers(
    deployment: Deployment, receiver: Receiver
) -> None:
    body = sent(test_mode=True)
    deployment.deliver(body, received_at=1_800_000_001.5)
    deployment.run()

    message = receiver.receive(1)[0]
    event = message.decode()

    assert event.pop("payload") == outward(json.loads(body))
    key = event["idempotency_key"]
    assert key.endswith(":publish_event")
    assert event == {
        "schema_version": 1, "idempotency_key": key, "type": P + "sent", "time": CREATED_AT,
        "received_at": 1_800_000_001.5, "source": "default", "ordering_key": "signature_request/r1",
        "signature_request_id": "r1", "related_signature_id": None, "test_mode": True, "late": False, "replay": False,
        "body_signature": "valid", "trust": "attested", "origin": "callback", "trace_id": TRACE,
    }  # fmt: skip
    assert message.delivery_info["routing_key"] == P + "sent"
    assert (
        message.headers.items() >= {name: value for name, value in event.items() if value is not None}.items()
    )
    assert message.properties["message_id"] == key
    assert message.properties["delivery_mode"] == 2


def test_a_queue_gets_the_types_that_it_is_bound_to(state: Redis, broker: Broker, bus: Topics) -> None:
    def store(event: Event, context: Context) -> None:
        context.emit("deedbox.document_stored", {"sha256": "0", "of": event.signature_request_id})

    storing = RegisteredAction("store", (P + "viewed",), store)
    deployment = Deployment(state, registered(PublishEvent(bus)), storing)
    exact, internal = Receiver(broker.url, P + "sent"), Receiver(broker.url, "deedbox.#", P + "viewed")
    try:
        deployment.deliver(sent(), viewed(5))
        deployment.run()
        deployment.run()

        assert short(exact.events(1)) == ["sent"]
        assert short(internal.events(2)) == ["viewed", "deedbox.document_stored"]
    finally:
        exact.close()
        internal.close()


def test_an_event_that_nobody_asked_for_is_published_to_nobody(deployment: Deployment, state: Redis) -> None:
    deployment.deliver(sent())
    deployment.run()

    assert deployment.counters()["action_done"] == 1
    assert deployment.left() == 0
    assert state.zcard(keys.DEAD) == 0


def test_odd_types_ids_and_characters_are_published_too(deployment: Deployment, receiver: Receiver) -> None:
    deployment.deliver(
        callback("a.new.type"),
        callback("x" * 128),
        sent(title="half \ud800", request_id="r-\ud800"),
        sent(title="é"),
    )
    deployment.run()

    events = receiver.events(4)

    assert sorted(event["type"] for event in events) == ["a.new.type", P + "sent", P + "sent", "x" * 128]
    titles = [event["payload"]["signature_request"].get("title") for event in events]
    assert {"half \ud800", "é"} <= set(titles)


def test_without_the_payload_no_message_names_a_signer(state: Redis, bus: Topics, receiver: Receiver) -> None:
    deployment = Deployment(state, registered(PublishEvent(bus, with_payload=False)))
    deployment.deliver(sent(title="Lease of Ada Lovelace"))
    deployment.run()

    message = receiver.receive(1)[0]

    assert "payload" not in message.decode()
    assert b"Lovelace" not in json.dumps([message.decode(), message.headers]).encode()


def test_while_the_broker_is_away_the_events_wait_in_their_order(
    deployment: Deployment, broker: Broker, receiver: Receiver
) -> None:
    deployment.deliver(sent())
    deployment.run()
    broker.kill()
    try:
        deployment.deliver(viewed(5), viewed(6, related_signature_id="s2"), viewed(7))
        deployment.run()

        assert deployment.waiting() == 1
        assert deployment.left() == 3
    finally:
        broker.start()
    deployment.run_until(lambda: deployment.left() == 0, "everything was published")

    times = [event["time"] - CREATED_AT for event in receiver.events(4)]

    assert sorted(set(times)) == times == [0, 5, 6, 7]
    assert deployment.letters() == []


def test_a_worker_that_is_killed_repeats_at_most_the_event_that_it_was_publishing(
    redis_server: RedisServer, state: Redis, broker: Broker, receiver: Receiver, tmp_path: Path
) -> None:
    fleet = Fleet(
        redis_server,
        tmp_path,
        DEEDBOX_BUILTINS="publish_event",
        DEEDBOX_EVENTS_URL=broker.url,
        DEEDBOX_ACTIONS="",
    )
    requests, views = [f"r{number}" for number in range(4)], range(1, 50)
    total = (len(views) + 1) * len(requests)
    load = inbox.Load()
    for request_id in requests:
        load.add(envelope(sent(0, request_id)))
        for at in views:
            load.add(envelope(viewed(at, request_id)))
    inbox.append(Scripts(state), load)
    try:
        fleet.worker("sequencer")
        fleet.start("sweeper")
        worker = fleet.worker("fanout")
        until(lambda: _done(state) >= 40, f"some were published\n{fleet.log()}")
        worker.kill()
        worker.wait()
        fleet.worker("fanout")
        until(lambda: _done(state) >= total, f"all were published\n{fleet.log()}", 60)
    finally:
        fleet.close()

    events = receiver.events(total)
    for request_id in requests:
        mine = [event for event in events if event["signature_request_id"] == request_id]
        # A repeat directly follows its first delivery: order holds even for a consumer that does not deduplicate.
        runs = [(key, list(run)) for key, run in groupby(mine, key=lambda event: event["idempotency_key"])]
        assert [run[0]["time"] - CREATED_AT for _, run in runs] == [0, *views]
        assert all(len(run) <= 2 for _, run in runs)


def _done(state: Redis) -> int:
    return int(state.hget(keys.COUNTERS, "action_done") or 0)
