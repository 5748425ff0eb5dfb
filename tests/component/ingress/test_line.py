"""The line to a real Redis: what arrives, and what the loop is told when it does not."""

from __future__ import annotations

import select
from collections.abc import Iterator
from typing import cast

import pytest
import redis

from deedbox.ingress.publish import redis_pipe
from deedbox.ingress.publish.redis_pipe import RedisPipe
from deedbox.shared.broker.message import decode_kombu
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.errors import Unavailable
from deedbox.shared.redis import keys
from deedbox.shared.settings import Settings
from tests.component.ingress.conftest import Server
from tests.component.ingress.spooling import MortalRedis, numbered
from tests.support.brokers import broker_at

pytestmark = pytest.mark.real_redis


@pytest.fixture
def raw(redis_broker: Server) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_broker.url) as client:
        client.flushall()
        yield client
        client.flushall()  # this Redis is others' too


def opened(url: str) -> RedisPipe:
    connect = broker_at(url).line()
    assert connect is not None
    found = RedisPipe.open(connect)
    assert found is not None
    return found


def wait_readable(found: RedisPipe) -> None:
    assert select.select([found.fileno], [], [], 10)[0]


def test_a_batch_is_one_command_and_arrives_in_order(redis_broker: Server, raw: redis.Redis) -> None:
    found = opened(redis_broker.url)
    raw.config_resetstat()
    for batch in ([numbered(1)], [numbered(2), numbered(3), numbered(4)]):
        found.send(batch)
        wait_readable(found)
        found.answer()
    assert raw.info("commandstats")["cmdstat_lpush"]["calls"] == 2
    messages = cast("list[bytes]", raw.lrange(keys.RAW_QUEUE, 0, -1))
    read = [Envelope.from_headers(*decode_kombu(each)) for each in reversed(messages)]
    assert read == [numbered(number) for number in (1, 2, 3, 4)]
    found.close()


def test_an_error_of_redis_is_no_answer(redis_broker: Server, raw: redis.Redis) -> None:
    found = opened(redis_broker.url)
    raw.set(keys.RAW_QUEUE, "not a list")
    found.send([numbered(1)])
    wait_readable(found)
    with pytest.raises(Unavailable, match="did not confirm"):
        found.answer()
    found.close()


def test_a_redis_that_dies_makes_the_line_readable_and_the_answer_an_error(mortal: MortalRedis) -> None:
    found = opened(mortal.url)
    mortal.kill()
    wait_readable(found)
    with pytest.raises(Unavailable):
        found.answer()
    found.close()


def test_where_nobody_listens_no_line_is_had(mortal: MortalRedis) -> None:
    mortal.kill()
    with pytest.raises(Unavailable, match="cannot be reached"):
        opened(mortal.url)


@pytest.mark.parametrize(
    ("url", "replicas", "had"),
    [
        ("redis://127.0.0.1:1/0", "0", True),
        ("redis+sentinel://127.0.0.1:1/master/0", "0", True),
        ("redis://127.0.0.1:1/0", "1", False),
        ("amqp://127.0.0.1:1//", "0", False),
        ("sqs://", "0", False),
    ],
)
def test_lines_are_for_redis_that_need_not_wait_for_replicas(url: str, replicas: str, had: bool) -> None:  # noqa: FBT001
    settings = Settings.load(
        {
            "DEEDBOX_REDIS_URL": "redis://127.0.0.1:1/0",
            "DEEDBOX_BROKER_URL": url,
            "DEEDBOX_REDIS_WAIT_REPLICAS": replicas,
        }
    )
    assert (redis_pipe.opener(settings) is not None) is had
