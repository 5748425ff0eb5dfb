"""Publishing to SQS: every wait bounded, what SQS never takes set aside, the queue fit for callbacks."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from deedbox.ingress.spool.drain import Drainer
from deedbox.ingress.spool.quarantine import Quarantine
from deedbox.ingress.spool.writer import Spool
from deedbox.shared.broker.errors import RefusedForCause
from deedbox.shared.broker.message import decode_kombu
from deedbox.shared.broker.port import Broker
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.errors import SettingsError, Unavailable
from deedbox.shared.core.reasons import DeathReason
from deedbox.shared.redis.embedded import free_port
from tests.component.ingress.conftest import envelope
from tests.component.ingress.spooling import GIB, left, number_of, numbered, spooled
from tests.component.ingress.test_bounds import BOUND_S, assert_bounded, full_port, silent_port
from tests.support.brokers import broker_at, connect
from tests.support.sqs import SqsServer

__all__ = ["envelope", "full_port", "silent_port"]


def received(sqs: SqsServer, name: str = "deedbox-raw") -> list[dict[str, Any]]:
    """Receive everything that a queue holds."""
    client = sqs.client()
    url = client.get_queue_url(QueueName=name)["QueueUrl"]
    found: list[dict[str, Any]] = []
    while messages := client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        found += messages
    return found


def envelope_of(message: dict[str, Any]) -> Envelope:
    return Envelope.from_headers(*decode_kombu(message["Body"].encode()))


def to(port: int) -> Broker:
    return broker_at(f"sqs://key:secret@127.0.0.1:{port}?tls=off&region=eu-central-1")


def test_a_published_callback_lies_there_unchanged(
    sqs: SqsServer, publisher: Broker, envelope: Envelope
) -> None:
    publisher.publish(envelope)
    [message] = received(sqs)
    assert envelope_of(message) == envelope


def test_a_body_grows_by_a_third_and_not_by_two(sqs: SqsServer, publisher: Broker) -> None:
    publisher.publish(numbered(1, size_bytes=3_000))
    [message] = received(sqs)
    assert len(message["Body"]) < 3_000 * 4 / 3 + 600


def test_the_queue_keeps_callbacks_for_long_and_gives_up_into_a_dead_letter_queue(
    sqs: SqsServer, publisher: Broker, envelope: Envelope
) -> None:
    publisher.publish(envelope)
    client = sqs.client()
    url = client.get_queue_url(QueueName="deedbox-raw")["QueueUrl"]
    found = client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    redrive = json.loads(found["RedrivePolicy"])
    assert (found["VisibilityTimeout"], found["MessageRetentionPeriod"]) == ("30", "1209600")
    assert redrive["deadLetterTargetArn"].endswith(":deedbox-raw-dead")
    assert redrive["maxReceiveCount"] == 20


def test_a_queue_that_the_url_names_is_used_and_none_is_made(sqs: SqsServer, envelope: Envelope) -> None:
    own = sqs.client().create_queue(QueueName="callbacks-of-mine")["QueueUrl"]
    publisher = broker_at(sqs.url(queue=quote(own, safe="")))
    publisher.publish(envelope)
    publisher.close()
    assert [envelope_of(message) for message in received(sqs, "callbacks-of-mine")] == [envelope]
    assert len(sqs.client().list_queues()["QueueUrls"]) == 1


def test_a_queue_that_somebody_made_is_left_as_it_is(
    sqs: SqsServer, publisher: Broker, envelope: Envelope
) -> None:
    client = sqs.client()
    url = client.create_queue(QueueName="deedbox-raw", Attributes={"VisibilityTimeout": "77"})["QueueUrl"]
    publisher.publish(envelope)
    found = client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert found["VisibilityTimeout"] == "77"
    assert "RedrivePolicy" not in found


def test_a_refused_port_fails_in_time(envelope: Envelope) -> None:
    assert_bounded(to(free_port()), envelope)


def test_a_silent_endpoint_fails_in_time(silent_port: int, envelope: Envelope) -> None:
    assert_bounded(to(silent_port), envelope)


def test_a_black_hole_fails_in_time(full_port: int, envelope: Envelope) -> None:
    assert_bounded(to(full_port), envelope)


def test_an_endpoint_that_freezes_fails_in_time_and_heals(
    sqs: SqsServer, publisher: Broker, envelope: Envelope
) -> None:
    publisher.publish(envelope)
    os.kill(sqs.pid, signal.SIGSTOP)
    try:
        started = time.monotonic()
        with pytest.raises(Unavailable):
            publisher.publish(envelope)
        assert (
            time.monotonic() - started < 2 * BOUND_S
        )  # a client of boto is made first, which takes its time on a busy machine
    finally:
        os.kill(sqs.pid, signal.SIGCONT)
    publisher.publish(envelope)
    assert len(received(sqs)) >= 2


def test_a_callback_larger_than_sqs_takes_is_refused_for_cause(sqs: SqsServer, publisher: Broker) -> None:
    publisher.publish(numbered(1))
    with pytest.raises(RefusedForCause):
        publisher.publish(numbered(2, size_bytes=1_500_000))
    assert [number_of(envelope_of(message)) for message in received(sqs)] == [1]


def test_a_spooled_callback_that_is_too_large_is_set_aside_and_the_others_are_drained(
    tmp_path: Path, sqs: SqsServer, publisher: Broker
) -> None:
    folder = spooled(tmp_path, range(25))
    spool = Spool(folder, GIB)
    for number, size_bytes in ((25, 0), (26, 1_500_000), (27, 0)):
        spool.append(numbered(number, size_bytes), 5)
    spool.close()
    found = Drainer(folder, publisher).drain()
    assert (found.set_aside, found.trouble, left(folder)) == (1, None, 0)
    assert {number_of(envelope_of(message)) for message in received(sqs)} == {*range(28)} - {26}
    assert [each.reason for each in Quarantine(folder).all()] == [DeathReason.BROKER_REFUSED]


def test_an_option_that_there_is_not_is_named() -> None:
    with pytest.raises(SettingsError, match="regoin' is no parameter"):
        connect("sqs://?regoin=eu-central-1")


@pytest.mark.parametrize("timeout", ["0", "-1", "soon", "43201", "1.5"])
def test_a_visibility_timeout_that_sqs_does_not_know_is_named(timeout: str) -> None:
    with pytest.raises(SettingsError, match="visibility_timeout"):
        connect(f"sqs://?visibility_timeout={timeout}")


def test_the_region_of_a_named_queue_is_taken_from_its_url() -> None:
    queue = quote("https://sqs.ap-south-1.amazonaws.com/123456789012/callbacks", safe="")
    assert connect(f"sqs://?queue={queue}").transport_options["region"] == "ap-south-1"
