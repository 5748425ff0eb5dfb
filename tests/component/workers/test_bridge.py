"""The bridge on Redis: from kombu's list into the inbox, losing nothing, choking on nothing."""

from __future__ import annotations

import base64
import json
import threading

import kombu
import pytest
from redis import Redis

from deedbox.shared import codec
from deedbox.shared.broker.message import encode_kombu
from deedbox.shared.broker.port import BATCH
from deedbox.shared.core.callback import outward
from deedbox.shared.redis import keys
from deedbox.shared.redis.scripting import Scripts
from deedbox.workers.bridge.bridge import redrive
from tests.component.workers.rig import (
    TRACE,
    Deployment,
    Journal,
    envelope,
    message,
    sent,
    silent,
    viewed,
)
from tests.component.workers.server import RedisServer, until
from tests.support.brokers import Claims
from tests.support.stored import body_at

pytestmark = pytest.mark.real_redis


def bridge(state: Redis, name: str = "b1", broker: Redis | None = None) -> Claims:
    return Claims(Scripts(state), None if broker is None else Scripts(broker), name)


def test_what_kombu_publishes_reaches_the_action_byte_for_byte(
    redis_server: RedisServer, state: Redis, deployment: Deployment, journal: Journal
) -> None:
    wrapped = envelope(sent(title="é/\\"))
    with kombu.Connection(redis_server.url, transport_options={"priority_steps": [0]}) as connection:
        connection.Producer().publish(
            wrapped.body, routing_key=keys.RAW_QUEUE, headers=wrapped.headers(), compression="zlib",
            content_type="application/octet-stream", content_encoding="binary",
        )  # fmt: skip
    assert bridge(state).once() == 1
    deployment.run()
    [(event, _)] = journal.calls
    assert event.payload == outward(json.loads(codec.body_of(wrapped)))
    assert body_at(state, keys.event(deployment.timeline()[0]["event"])) == wrapped.body


def test_a_batch_is_bounded(state: Redis) -> None:
    state.lpush(keys.RAW_QUEUE, *(message(sent(request_id=f"r{number}")) for number in range(BATCH + 10)))
    moving = bridge(state)
    assert [moving.once(), moving.once(), moving.once()] == [BATCH, 10, 0]


def test_one_callback_wakes_a_waiting_bridge(redis_server: RedisServer, state: Redis) -> None:
    stop = threading.Event()
    with redis_server.client() as client:
        thread = threading.Thread(target=bridge(client).mover.run, args=(stop.is_set,))
        thread.start()
        state.lpush(keys.RAW_QUEUE, message(sent()))
        until(lambda: state.exists(*(keys.inbox(shard) for shard in range(16))), "it was appended")
        stop.set()
        thread.join()


def test_two_servers_are_bridged_and_the_claim_is_dropped_last(
    state: Redis, fragile: RedisServer, deployment: Deployment, journal: Journal
) -> None:
    with fragile.client() as broker:
        broker.lpush(keys.RAW_QUEUE, message(sent()), message(viewed(1)))
        moving = bridge(state, broker=broker)
        assert moving.once() == 2
        assert broker.dbsize() == 1  # the bridge's own lease, for its claims
    deployment.run()
    assert journal.types() == ["sent", "viewed"]


def _kombu(body: object, headers: object, **properties: object) -> bytes:
    return json.dumps(
        {"body": body, "headers": headers, "properties": {"body_encoding": "base64", **properties}}
    ).encode()


GOOD = {"deedbox": 1, "source": "default", "received_at": 1.0, "body_signature": "valid", "trace_id": TRACE}
BODY = base64.b64encode(sent()).decode()
UNDECODABLE = {
    "nothing": b"",
    "no json": b"\xff\xfe",
    "another json": b"[1]",
    "deep json": b"[" * 100_000,
    "no headers": _kombu(BODY, None),
    "another version": _kombu(BODY, GOOD | {"deedbox": 2}),
    "no source": _kombu(BODY, {name: value for name, value in GOOD.items() if name != "source"}),
    "a time that is none": _kombu(BODY, GOOD | {"received_at": "yesterday"}),
    "a signature that is none": _kombu(BODY, GOOD | {"body_signature": []}),
    "no base64": _kombu("###", GOOD),
    "a body that is no text": _kombu(7, GOOD),
    "a compression that is unknown": _kombu(BODY, GOOD | {"compression": "brotli"}),
    "a damaged compression": _kombu(BODY, GOOD | {"compression": "zlib"}),
}
WEDGING = {
    "a compression that is a list": _kombu(BODY, GOOD | {"compression": []}),
    "half a character as source": _kombu(BODY, GOOD | {"source": "\ud83d"}),
}


@pytest.mark.parametrize("poison", [*UNDECODABLE.values(), *WEDGING.values()], ids=[*UNDECODABLE, *WEDGING])
def test_what_cannot_be_decoded_is_set_aside_as_it_came(
    state: Redis, deployment: Deployment, journal: Journal, poison: bytes
) -> None:
    """Headers that no ingress writes too."""
    state.lpush(keys.RAW_QUEUE, poison, message(sent()))
    assert bridge(state).once() == 2
    deployment.run()
    assert journal.types() == ["sent"]
    assert deployment.reasons() == ["undecodable"]
    assert deployment.letters()[0]["raw"] == poison
    assert not state.exists(keys.claimed("b1"))


def test_a_callback_that_only_the_sequencer_refuses_goes_through(
    state: Redis, deployment: Deployment, journal: Journal
) -> None:
    state.lpush(keys.RAW_QUEUE, message(b"no json"), message(sent()))
    assert bridge(state).once() == 2
    deployment.run()
    assert deployment.reasons() == ["undecodable"]
    assert journal.types() == ["sent"]


def test_a_redriven_message_is_taken_in_once(state: Redis, deployment: Deployment, journal: Journal) -> None:
    again = envelope(sent(), redrive="1")
    state.rpush(keys.REDRIVE, encode_kombu(again.headers(), again.body))
    for _ in range(2):
        redrive(deployment.scripts, silent)
    deployment.deliver(sent())
    deployment.run()
    assert journal.types() == ["sent", "sent"]
    assert state.exists(keys.REDRIVE) == 0


def test_a_redriven_message_that_still_cannot_be_decoded_comes_back_as_a_letter(
    state: Redis, deployment: Deployment
) -> None:
    state.rpush(keys.REDRIVE, b"garbage")
    redrive(deployment.scripts, silent)
    redrive(deployment.scripts, silent)
    assert deployment.reasons() == ["undecodable"]
    assert state.exists(keys.REDRIVE) == 0
