"""What every broker promises through its port: the one in memory as the real ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest

from deedbox.shared.broker.port import WAIT_S, Broker, Consumer, TopicMessage
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.errors import SettingsError, Unavailable
from deedbox.shared.core.signature import BodySignature
from deedbox.shared.redis import inbox
from deedbox.shared.redis.embedded import free_port
from tests.component.ingress.conftest import Server, rabbitmq_broker, redis_broker
from tests.component.sqs.conftest import server
from tests.support.brokers import STATE, broker_at, connect, raw_queue_of
from tests.support.memory_broker import MemoryBroker
from tests.support.sqs import SqsServer

__all__ = ["rabbitmq_broker", "redis_broker", "server"]

pytestmark = [pytest.mark.rabbitmq, pytest.mark.real_redis]


@dataclass(frozen=True)
class Subject:
    """A broker, empty, and what is known of its kind."""

    broker: Broker
    away: Broker
    """Another one of its kind that does not answer."""
    keeps_order: bool = True
    again_after_s: float = 0.0
    """When it delivers again what a consumer left."""


def _memory(_request: pytest.FixtureRequest) -> Subject:
    away = MemoryBroker()
    away.is_away = True
    return Subject(MemoryBroker(), away)


def _redis(request: pytest.FixtureRequest) -> Subject:
    server: Server = request.getfixturevalue("redis_broker")
    broker = broker_at(server.url)
    assert broker.server is not None
    broker.server.client.flushall()
    return Subject(broker, broker_at(f"redis://127.0.0.1:{free_port()}/0"))


def _rabbitmq(request: pytest.FixtureRequest) -> Subject:
    server: Server = request.getfixturevalue("rabbitmq_broker")
    with connect(server.url) as connection:
        raw_queue_of(connection).purge()
    return Subject(broker_at(server.url), broker_at(f"amqp://127.0.0.1:{free_port()}//"))


def _sqs(request: pytest.FixtureRequest) -> Subject:
    server: SqsServer = request.getfixturevalue("server")
    server.empty()
    away = broker_at(f"sqs://key:secret@127.0.0.1:{free_port()}?tls=off&region=eu-central-1")
    return Subject(broker_at(server.url(visibility_timeout=1)), away, keeps_order=False, again_after_s=1.5)


KINDS: dict[str, Callable[[pytest.FixtureRequest], Subject]] = {
    "memory": _memory, "redis": _redis, "rabbitmq": _rabbitmq, "sqs": _sqs,
}  # fmt: skip


@pytest.fixture(params=list(KINDS))
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    found = KINDS[request.param](request)
    yield found
    found.broker.close()


def envelopes(count: int) -> list[Envelope]:
    one = Envelope("default", time.time(), BodySignature.ABSENT, "0" * 32, b"")
    return [replace(one, trace_id=f"{number:032x}", body=b"{%d}" % number) for number in range(count)]


def opened(subject: Subject, bridge: str = "b") -> Consumer:
    [opener] = subject.broker.consumers(bridge, STATE)
    return opener()


def taken(consumer: Consumer, count: int) -> list[bytes]:
    """Take so many, acknowledging each batch."""
    found: list[bytes] = []
    until = time.monotonic() + 20
    while len(found) < count and time.monotonic() < until:
        load = inbox.Load()
        consumer.take(load)
        found += [each.body for each in load.envelopes]
        consumer.done()
    return found


def test_what_is_published_is_taken_as_it_was_and_once(subject: Subject) -> None:
    sent = envelopes(30)
    subject.broker.publish(sent[0])
    subject.broker.publish_many(sent[1:])
    assert subject.broker.look().depth == 30
    consumer = opened(subject)
    found = taken(consumer, 30)
    assert (found if subject.keeps_order else sorted(found)) == (
        [each.body for each in sent] if subject.keeps_order else sorted(each.body for each in sent)
    )
    last = inbox.Load()
    consumer.take(last)
    assert last.is_empty
    consumer.close()
    assert subject.broker.look().depth == 0


def test_nothing_published_is_nothing(subject: Subject) -> None:
    subject.broker.publish_many([])
    assert subject.broker.look().depth == 0


def test_what_is_taken_and_not_done_comes_again(subject: Subject) -> None:
    subject.broker.publish_many(envelopes(3))
    killed, load = opened(subject), inbox.Load()
    while len(load.envelopes) < 3:
        load = inbox.Load()
        killed.take(load)
        if len(load.envelopes) < 3:  # the rest is on its way
            killed.close()
            time.sleep(subject.again_after_s)
            killed = opened(subject)
    killed.close()
    time.sleep(subject.again_after_s)
    again = opened(subject)
    assert sorted(taken(again, 3)) == [b"{0}", b"{1}", b"{2}"]
    again.close()


def test_a_consumer_takes_nothing_new_while_it_holds_some(subject: Subject) -> None:
    subject.broker.publish(envelopes(1)[0])
    consumer, first = opened(subject), inbox.Load()
    consumer.take(first)
    subject.broker.publish_many(envelopes(3)[1:])
    second = inbox.Load()
    consumer.take(second)
    assert [each.body for each in first.envelopes] == [each.body for each in second.envelopes] == [b"{0}"]
    consumer.keep()
    consumer.done()
    # SQS gives a message again that was held for longer than its visibility timeout, which is short here.
    rest = {b"{1}", b"{2}"}
    found: set[bytes] = set()
    while not found >= rest:
        found |= {*taken(consumer, 1)}
    assert found <= rest | {b"{0}"}
    consumer.close()


def test_the_wait_for_a_callback_is_bounded(subject: Subject) -> None:
    subject.broker.ping()
    consumer, load = opened(subject), inbox.Load()
    began = time.monotonic()
    assert consumer.take(load) == 0
    assert load.is_empty
    assert time.monotonic() - began < WAIT_S + 2
    consumer.close()


def test_headers_that_are_no_envelopes_are_set_aside_with_their_reason(subject: Subject) -> None:
    odd = envelopes(1)[0]
    object.__setattr__(odd, "source", "no source/at all")
    subject.broker.publish(odd)
    consumer, load = opened(subject), inbox.Load()
    while load.is_empty:
        consumer.take(load)
    assert [why for _, why in load.quarantined] == ["ill-formed headers (ValueError)"]
    consumer.done()
    consumer.close()


def test_a_broker_that_is_away_is_unavailable_whatever_is_asked(subject: Subject) -> None:
    one = envelopes(1)[0]
    attempts: list[Callable[[], object]] = [
        lambda: subject.away.publish(one), lambda: subject.away.publish_many([one, one]), subject.away.ping,
        subject.away.look, lambda: opened(replace(subject, broker=subject.away)).take(inbox.Load()),
    ]  # fmt: skip
    for attempt in attempts:
        with pytest.raises(Unavailable):
            attempt()
    subject.away.demand()  # not there yet is no reason to refuse it


def test_topics_are_had_or_refused_in_one_sentence(subject: Subject) -> None:
    message = TopicMessage("signature_request_sent", "key", {}, b"{}")
    if subject.broker.name == "sqs":
        with pytest.raises(SettingsError, match="DEEDBOX_EVENTS_URL"):
            subject.broker.topics()
        return
    topics = subject.broker.topics()
    topics.publish(message)  # nobody is bound: it is dropped, as topic exchanges do
    topics.close()
