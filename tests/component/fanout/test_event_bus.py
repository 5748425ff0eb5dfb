"""The bus itself: bounded waits, a Redis that fills up, and what no broker will take."""

from __future__ import annotations

import time

import pytest
from redis import Redis

from deedbox.shared.broker.errors import RefusedForCause
from deedbox.shared.broker.port import TopicMessage as Message
from deedbox.shared.core.errors import SettingsError, Unavailable
from deedbox.shared.redis.embedded import free_port
from deedbox.shared.settings import Settings
from deedbox.workers.actions import Context, Event, Reject, Retry
from deedbox.workers.builtins.publish_event import PublishEvent
from deedbox.workers.process import Process
from tests.component.fanout.receiver import Receiver
from tests.component.workers.server import RedisServer
from tests.support.brokers import broker_at

MESSAGE = Message("signature_request_sent", "key", {}, b"{}")
EVENT = Event(
    "signature_request_sent", 1, 1.0, "default", "signature_request/r1", "r1", None,
    test_mode=False, late=False, body_signature="valid", trust="attested", payload={},
)  # fmt: skip


class Failing:
    """A bus that fails until told otherwise, and counts."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error
        self.asked = 0

    def publish(self, _message: Message) -> None:
        self.asked += 1
        if self.error:
            raise self.error

    def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize("scheme", ["amqp", "redis"])
def test_a_broker_that_is_not_there_is_unavailable_within_seconds(scheme: str) -> None:
    bus = broker_at(f"{scheme}://127.0.0.1:{free_port()}").topics()
    started = time.monotonic()

    with pytest.raises(Unavailable):
        bus.publish(MESSAGE)

    assert time.monotonic() - started < 10


@pytest.mark.real_redis
def test_a_queue_that_nobody_reads_does_not_fill_the_redis_that_callbacks_need(
    redis_server: RedisServer, state: Redis
) -> None:
    Receiver(redis_server.url)
    bus = broker_at(redis_server.url).topics()
    bus.publish(MESSAGE)
    bus.close()
    state.config_set("maxmemory", int(state.info("memory")["used_memory"] * 1.2))
    try:
        with pytest.raises(Unavailable, match="full"):
            broker_at(redis_server.url).topics().publish(MESSAGE)
    finally:
        state.config_set("maxmemory", 0)

    broker_at(redis_server.url).topics().publish(MESSAGE)


@pytest.mark.real_redis
def test_a_redis_without_the_replicas_asked_for_has_not_confirmed(
    redis_server: RedisServer, state: Redis
) -> None:
    assert state.ping()
    Receiver(redis_server.url)

    with pytest.raises(Unavailable):
        broker_at(redis_server.url, wait_replicas=1).topics().publish(MESSAGE)


def test_one_call_finds_out_for_all_that_the_broker_is_away() -> None:
    now = [100.0]
    bus = Failing(Unavailable("the broker is away"))
    publish = PublishEvent(bus, monotonic=lambda: now[0])
    asked_later = []
    for _ in range(50):
        with pytest.raises(Retry) as raised:
            publish(EVENT, Context("key", 1))
        asked_later.append(raised.value.after)

    assert bus.asked == 1
    assert set(asked_later) == {1.0}
    bus.error, now[0] = None, 101.1
    publish(EVENT, Context("key", 1))
    assert bus.asked == 2


def test_an_event_that_the_broker_will_never_take_is_set_aside() -> None:
    with pytest.raises(Reject, match="refuses this event"):
        PublishEvent(Failing(RefusedForCause("the broker refuses this event (X)")))(EVENT, Context("key", 1))


@pytest.mark.parametrize(
    ("given", "published"),
    [
        ({}, False),
        ({"DEEDBOX_BUILTINS": "publish_event"}, True),
        ({"DEEDBOX_BUILTINS": "all,publish_event"}, True),
        ({"DEEDBOX_EVENTS_URL": "amqp://127.0.0.1"}, True),
        ({"DEEDBOX_EVENTS_URL": "amqp://127.0.0.1", "DEEDBOX_BUILTINS": "track_status"}, False),
        ({"DEEDBOX_EVENTS_URL": "amqp://127.0.0.1", "DEEDBOX_BUILTINS": "none"}, False),
    ],
)
def test_events_are_published_only_if_asked_for(given: dict[str, str], *, published: bool) -> None:
    assert ("publish_event" in Settings.load(given).enabled_builtins) == published


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"DEEDBOX_EVENTS_URL": "rabbit.internal"}, "DEEDBOX_EVENTS_URL is not a URL"),
        ({"DEEDBOX_EVENTS_URL": "sqs://"}, "SQS"),
        ({"DEEDBOX_BROKER_URL": "sqs://"}, "DEEDBOX_EVENTS_URL"),
    ],
)
def test_a_broker_that_cannot_serve_is_one_sentence(given: dict[str, str], sentence: str) -> None:
    settings = Settings.load({"DEEDBOX_BUILTINS": "publish_event", "DEEDBOX_API_KEYS": "k", **given})

    with pytest.raises(SettingsError, match=sentence) as raised:
        _ = Process(settings).registry

    assert "\n" not in str(raised.value)


def test_the_address_of_the_events_broker_is_a_secret() -> None:
    settings = Settings.load({"DEEDBOX_EVENTS_URL": "amqp://me:hush@127.0.0.1"})

    assert "hush" not in repr(settings) + str(settings.summary())
