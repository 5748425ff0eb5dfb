"""From SQS to the action: acknowledged one by one, after the append, lost never."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deedbox.shared import codec
from deedbox.shared.broker.port import Broker
from deedbox.shared.core.callback import outward
from tests.component.conftest import Operate
from tests.component.workers.rig import Deployment, Journal, P, envelope, sent, viewed
from tests.component.workers.server import RedisServer, until
from tests.support.brokers import bridging, broker_at, run_until_killed
from tests.support.sqs import SqsServer
from tests.support.stored import body_at

pytestmark = pytest.mark.real_redis


def left(sqs: SqsServer) -> int:
    """Count what the queue still has: to be delivered, or delivered and not acknowledged."""
    client = sqs.client()
    url = client.get_queue_url(QueueName="deedbox-raw")["QueueUrl"]
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found: dict[str, Any] = client.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(int(count) for count in found.values())


def test_what_was_published_reaches_the_action_byte_for_byte(
    sqs: SqsServer, publisher: Broker, redis_server: RedisServer, deployment: Deployment, journal: Journal
) -> None:
    first, second = envelope(sent(title="é/\\\u2028")), envelope(viewed(1))
    publisher.publish(first)
    publisher.publish(second)
    with redis_server.client() as client, bridging(sqs.url(), client):
        deployment.run_until(lambda: len(journal.calls) == 2, "both arrived")
        until(lambda: left(sqs) == 0, "both were acknowledged")
    assert [event.type for event, _ in journal.calls] == [P + "sent", P + "viewed"]
    assert journal.calls[0][0].payload == outward(json.loads(codec.body_of(first)))
    fingerprint = deployment.timeline()[0]["event"]
    assert body_at(deployment.redis, f"deedbox:event:{fingerprint}") == first.body


def test_more_than_one_receive_brings_are_all_moved_and_acknowledged(
    sqs: SqsServer, publisher: Broker, redis_server: RedisServer, deployment: Deployment, journal: Journal
) -> None:
    publisher.publish_many([envelope(sent(request_id=f"r{number}")) for number in range(33)])
    with redis_server.client() as client, bridging(sqs.url(), client):
        deployment.run_until(lambda: len(journal.calls) == 33, "all arrived")
        until(lambda: left(sqs) == 0, "all were acknowledged")


def test_what_is_no_callback_is_set_aside_and_the_rest_goes_on(
    sqs: SqsServer, publisher: Broker, redis_server: RedisServer, deployment: Deployment, journal: Journal
) -> None:
    publisher.publish(envelope(sent()))
    client = sqs.client()
    url = client.get_queue_url(QueueName="deedbox-raw")["QueueUrl"]
    for body in ("not ours", '{"json": "but not kombu"}', "[1]"):
        client.send_message(QueueUrl=url, MessageBody=body)
    with redis_server.client() as other, bridging(sqs.url(), other):
        deployment.run_until(lambda: len(deployment.letters()) == 3, "they were set aside")
        deployment.run_until(lambda: len(journal.calls) == 1, "the good one arrived")
    assert set(deployment.reasons()) == {"undecodable"}


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_bridge_killed_around_its_append_loses_nothing_and_repeats_are_one_fact(
    sqs: SqsServer,
    redis_server: RedisServer,
    deployment: Deployment,
    journal: Journal,
    when: str,
) -> None:
    """The callback comes again when its visibility timeout is over: here after two seconds."""
    url = sqs.url(visibility_timeout=2)
    publisher = broker_at(url)
    publisher.publish(envelope(sent()))
    publisher.close()
    run_until_killed(url, redis_server.url, when)
    assert left(sqs) == 1
    with redis_server.client() as client, bridging(url, client):
        arrived = 1 if when == "before" else 2
        deployment.run_until(lambda: deployment.counters()["arrived"] == arrived, "it was delivered again")
        until(lambda: left(sqs) == 0, "it was acknowledged")
    assert journal.types() == ["sent"]
    assert deployment.counters()["duplicate"] == arrived - 1


def test_an_endpoint_that_dies_is_waited_for(
    tmp_path: Path, redis_server: RedisServer, deployment: Deployment, journal: Journal
) -> None:
    mortal = SqsServer(tmp_path)
    try:
        with redis_server.client() as client, bridging(mortal.url(), client):
            mortal.start()
            publisher = broker_at(mortal.url())
            publisher.publish(envelope(sent()))
            publisher.close()
            deployment.run_until(lambda: len(journal.calls) == 1, "it arrived")
    finally:
        mortal.close()


def test_status_counts_what_waits_and_sees_the_bridge(
    sqs: SqsServer, publisher: Broker, redis_server: RedisServer, operate: Operate
) -> None:
    publisher.publish_many([envelope(sent(request_id=f"r{number}")) for number in range(3)])
    shown = operate("status", "--json", DEEDBOX_BROKER_URL=sqs.url()).document
    assert shown["stages"]["broker"]["depth"] == 3
    assert "no_bridge" in [each["kind"] for each in shown["warnings"]]
    with redis_server.client() as client, bridging(sqs.url(), client):
        until(lambda: left(sqs) == 0, "they were moved")
        page = operate("status", DEEDBOX_BROKER_URL=sqs.url()).out
    assert "bridge          alive" in page


def test_check_reaches_the_queue_or_says_what_is_wrong(sqs: SqsServer, operate: Operate) -> None:
    def finding(url: str) -> dict[str, str]:
        checks = operate("check", "--offline", "--json", DEEDBOX_BROKER_URL=url).document["checks"]
        found: dict[str, str] = next(check for check in checks if check["name"] == "broker")
        return found

    assert finding(sqs.url())["verdict"] == "ok"
    dead = finding(sqs.url().replace(str(sqs.port), "1"))
    assert dead["verdict"] == "failed"
    assert "s3cret" not in json.dumps(dead)
    assert "regoin" in finding("sqs://?regoin=x")["detail"]
