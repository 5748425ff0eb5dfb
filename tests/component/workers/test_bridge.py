"""The bridge on Redis: from kombu's list into the inbox, losing nothing, choking on nothing."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from typing import Any

import kombu
import pytest
from redis import Redis

from deedbox.shared import codec
from deedbox.shared.broker.message import encode_kombu
from deedbox.shared.redis import keys
from deedbox.shared.redis.scripting import Scripts
from deedbox.workers.bridge.kombu_bridge import KombuBridge
from deedbox.workers.bridge.redis_bridge import BATCH, RedisBridge, redrive
from tests.component.workers.rig import (
    TRACE,
    Deployment,
    Journal,
    P,
    action,
    envelope,
    message,
    sent,
    silent,
    viewed,
)
from tests.component.workers.server import RedisServer, until

pytestmark = pytest.mark.real_redis


def bridge(state: Redis, name: str = "b1", broker: Redis | None = None) -> RedisBridge:
    scripts = Scripts(state)
    other = scripts if broker is None else Scripts(broker)
    return RedisBridge(name, other, scripts, silent, same_redis=broker is None)


@pytest.fixture
def deployment(state: Redis) -> Deployment:
    return Deployment(state, action(Journal()))


def journal(deployment: Deployment) -> Journal:
    registered = deployment.registry.get("journal")
    assert registered is not None
    assert isinstance(registered.function, Journal)
    return registered.function


def test_what_kombu_publishes_reaches_the_action_byte_for_byte(
    redis_server: RedisServer, state: Redis, deployment: Deployment
) -> None:
    wrapped = envelope(sent(title="é/\\"))
    with kombu.Connection(redis_server.url, transport_options={"priority_steps": [0]}) as connection:
        connection.Producer().publish(
            wrapped.body, routing_key=keys.RAW_QUEUE, headers=wrapped.headers(), compression="zlib",
            content_type="application/octet-stream", content_encoding="binary",
        )  # fmt: skip
    assert bridge(state).once() == 1
    deployment.run()
    [(event, _)] = journal(deployment).calls
    assert event.payload == json.loads(codec.body_of(wrapped))
    assert state.hget(keys.event(deployment.timeline()[0]["event"]), "body") == wrapped.body


def test_a_batch_is_bounded(state: Redis) -> None:
    state.lpush(keys.RAW_QUEUE, *(message(sent(request_id=f"r{number}")) for number in range(BATCH + 10)))
    moving = bridge(state)
    assert [moving.once(), moving.once(), moving.once()] == [BATCH, 10, 0]


def test_one_callback_wakes_a_waiting_bridge(redis_server: RedisServer, state: Redis) -> None:
    stop = threading.Event()
    with redis_server.client() as client:
        thread = threading.Thread(target=bridge(client).run, args=(stop.is_set,))
        thread.start()
        state.lpush(keys.RAW_QUEUE, message(sent()))
        until(lambda: state.exists(*(keys.inbox(shard) for shard in range(16))), "it was appended")
        stop.set()
        thread.join()


def test_two_servers_are_bridged_and_the_claim_is_dropped_last(
    state: Redis, fragile: RedisServer, deployment: Deployment
) -> None:
    with fragile.client() as broker:
        broker.lpush(keys.RAW_QUEUE, message(sent()), message(viewed(1)))
        moving = bridge(state, broker=broker)
        assert moving.once() == 2
        assert broker.dbsize() == 1  # the bridge's own lease
    deployment.run()
    assert journal(deployment).types() == ["sent", "viewed"]


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


def _set_aside(state: Redis, deployment: Deployment, poison: bytes) -> None:
    state.lpush(keys.RAW_QUEUE, poison, message(sent()))
    assert bridge(state).once() == 2
    deployment.run()
    assert journal(deployment).types() == ["sent"]
    assert deployment.reasons() == ["undecodable"]
    assert deployment.letters()[0]["raw"] == poison
    assert not state.exists(keys.claimed("b1"))


@pytest.mark.parametrize("poison", UNDECODABLE.values(), ids=UNDECODABLE.keys())
def test_what_cannot_be_decoded_is_set_aside_as_it_came(
    state: Redis, deployment: Deployment, poison: bytes
) -> None:
    _set_aside(state, deployment, poison)


@pytest.mark.parametrize("poison", WEDGING.values(), ids=WEDGING.keys())
def test_headers_that_no_ingress_writes_are_set_aside_too(
    state: Redis, deployment: Deployment, poison: bytes
) -> None:
    _set_aside(state, deployment, poison)


def test_a_callback_that_only_the_sequencer_refuses_goes_through(
    state: Redis, deployment: Deployment
) -> None:
    state.lpush(keys.RAW_QUEUE, message(b"no json"), message(sent()))
    assert bridge(state).once() == 2
    deployment.run()
    assert deployment.reasons() == ["undecodable"]
    assert journal(deployment).types() == ["sent"]


def test_a_redriven_message_is_taken_in_once(state: Redis, deployment: Deployment) -> None:
    again = envelope(sent(), redrive="1")
    state.rpush(keys.REDRIVE, encode_kombu(again.headers(), again.body))
    for _ in range(2):
        redrive(deployment.scripts, silent)
    deployment.deliver(sent())
    deployment.run()
    assert journal(deployment).types() == ["sent", "sent"]
    assert state.exists(keys.REDRIVE) == 0


def test_a_redriven_message_that_still_cannot_be_decoded_comes_back_as_a_letter(
    state: Redis, deployment: Deployment
) -> None:
    state.rpush(keys.REDRIVE, b"garbage")
    redrive(deployment.scripts, silent)
    redrive(deployment.scripts, silent)
    assert deployment.reasons() == ["undecodable"]
    assert state.exists(keys.REDRIVE) == 0


class Endless:
    """Runs a bridge on kombu's memory transport until told otherwise."""

    def __init__(self, state: Redis, ring: Callable[[str], None] = silent) -> None:
        self._stop = threading.Event()
        self.url = "memory://"
        self._bridge = KombuBridge("b1", lambda: kombu.Connection(self.url), Scripts(state), ring)
        self._thread = threading.Thread(target=self._bridge.run, args=(self._stop.is_set,))

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_exc: object) -> None:
        self._stop.set()
        self._thread.join()


def _publish(*wrapped: tuple[dict[str, Any], bytes], compression: str | None = None) -> None:
    with kombu.Connection("memory://") as connection:
        queue = kombu.Queue(keys.RAW_QUEUE, kombu.Exchange(""), routing_key=keys.RAW_QUEUE)
        queue(connection.default_channel).declare()
        for headers, body in wrapped:
            connection.Producer().publish(
                body, exchange="", compression=compression, routing_key=keys.RAW_QUEUE, headers=headers,
                content_type="application/octet-stream", content_encoding="binary",
            )  # fmt: skip


def test_any_other_transport_of_kombu_is_bridged_too(
    redis_server: RedisServer, deployment: Deployment
) -> None:
    first, second = envelope(sent()), envelope(viewed(1))
    _publish((first.headers(), first.body), ({"deedbox": 9}, b"odd"), (second.headers(), second.body))
    with redis_server.client() as client, Endless(client):
        deployment.run_until(lambda: len(journal(deployment).calls) == 2, "both arrived")
    assert [event.type for event, _ in journal(deployment).calls] == [P + "sent", P + "viewed"]
    assert deployment.reasons() == ["undecodable"]


def test_what_a_publisher_compressed_arrives_as_it_was(
    redis_server: RedisServer, state: Redis, deployment: Deployment
) -> None:
    wrapped = envelope(sent())
    _publish((wrapped.headers(), wrapped.body), compression="zlib")
    with redis_server.client() as client, Endless(client):
        deployment.run_until(lambda: journal(deployment).calls, "it arrived")
    assert state.hget(keys.event(deployment.timeline()[0]["event"]), "body") == wrapped.body


def test_a_batch_from_another_transport_is_bounded_in_bytes(
    redis_server: RedisServer, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Callbacks may have 10 MiB each; 250 of them in one call are more than Redis takes."""
    monkeypatch.setattr("deedbox.workers.bridge.kombu_bridge.BATCH_BYTES", 1)
    rung: list[str] = []
    wrapped = [envelope(sent(request_id=f"r{number}")) for number in range(5)]
    _publish(*((each.headers(), each.body) for each in wrapped))
    with redis_server.client() as client, Endless(client, rung.append):
        until(lambda: deployment.left() == 5, "all were appended")
    assert len(rung) == 5
