"""The publisher against a real Redis: what arrives, and what it costs."""

from __future__ import annotations

import json
import os
import select
import threading
from collections.abc import Callable, Iterator

import kombu
import pytest
import redis
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from deedbox.ingress.receive.ladder import Accepted, LadderPolicy, Received, judge
from deedbox.shared import codec
from deedbox.shared.broker.message import decode_kombu
from deedbox.shared.broker.port import Broker
from deedbox.shared.broker.redis_broker import RedisBroker, RedisLine
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.errors import Unavailable
from deedbox.shared.core.signature import event_hash
from deedbox.shared.redis import keys
from tests.component.ingress.conftest import PASSWORD, Server
from tests.support.brokers import broker_at
from tests.unit.ingress.wire import BOUNDARY, KEY, MULTIPART, multipart

pytestmark = pytest.mark.real_redis

POLICY = LadderPolicy(key_rings={"default": (KEY,)}, body_max_bytes=1_000_000)


@pytest.fixture
def raw(redis_broker: Server) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_broker.url) as client:
        client.flushall()
        yield client
        client.flushall()  # other modules publish to this server, too


@pytest.fixture
def publisher(redis_broker: Server) -> Iterator[Broker]:
    found = broker_at(redis_broker.url, limit=8)
    yield found
    found.close()


def read_back(raw: redis.Redis) -> Envelope:
    message = raw.rpop(keys.RAW_QUEUE)
    assert isinstance(message, bytes)
    headers, body = decode_kombu(message)
    return Envelope.from_headers(headers, body)


def test_what_is_published_is_read_back_unchanged(
    publisher: Broker, raw: redis.Redis, envelope: Envelope
) -> None:
    publisher.publish(envelope)
    assert read_back(raw) == envelope


EVENT = {"event_type": "x", "event_time": "9", "event_hash": event_hash(KEY, "9", "x")}
LEAVES = st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8"))
DOCUMENTS = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)


@given(
    extra=DOCUMENTS,
    ascii_only=st.booleans(),
    indent=st.sampled_from([None, 1, "\t"]),
    slashes=st.booleans(),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
    tail=st.sampled_from(["", "\r\n", " ", f"\r\n--{BOUNDARY[:-1]}"]),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_exact_bytes_survive_from_the_form_to_the_reader(
    publisher: Broker,
    raw: redis.Redis,
    extra: object,
    ascii_only: bool,  # noqa: FBT001
    indent: int | str | None,
    slashes: bool,  # noqa: FBT001
    line_end: str,
    tail: str,
) -> None:
    text = json.dumps({"event": EVENT, "/": extra}, ensure_ascii=ascii_only, indent=indent)
    text = (text.replace("/", "\\/") if slashes else text).replace("\n", line_end)
    body = (text + (tail if not tail.strip() else "")).encode("utf-8", "surrogatepass")
    assume(BOUNDARY.encode() not in body)
    verdict = judge(Received("default", "POST", MULTIPART, None, multipart(body), 9.0), POLICY)
    assume(isinstance(verdict, Accepted))
    assert isinstance(verdict, Accepted)
    publisher.publish(verdict.envelope(1.25, "b" * 32))
    assert codec.body_of(read_back(raw)) == body


def test_a_unix_socket_will_do(redis_broker: Server, raw: redis.Redis, envelope: Envelope) -> None:
    publisher = broker_at(f"unix://:{PASSWORD}@{redis_broker.socket}?db=2")
    publisher.publish(envelope)
    publisher.ping()
    publisher.close()
    raw.select(2)
    assert read_back(raw) == envelope


def test_a_publish_is_one_command(publisher: Broker, raw: redis.Redis, envelope: Envelope) -> None:
    publisher.publish(envelope)
    raw.config_resetstat()
    for _ in range(10):
        publisher.publish(envelope)
    calls = {name: facts["calls"] for name, facts in raw.info("commandstats").items()}
    assert calls.pop("cmdstat_lpush") == 10
    assert set(calls) <= {"cmdstat_config|resetstat", "cmdstat_config", "cmdstat_info"}


def test_many_threads_publish_through_few_connections(
    publisher: Broker, raw: redis.Redis, envelope: Envelope
) -> None:
    def publish_some() -> None:
        for _ in range(20):
            publisher.publish(envelope)

    threads = [threading.Thread(target=publish_some) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert raw.llen(keys.RAW_QUEUE) == 240
    names = [entry["cmd"] for entry in raw.client_list()]
    assert names.count("lpush") <= 8


def test_a_forked_process_publishes_through_its_own_connection(
    publisher: Broker, raw: redis.Redis, envelope: Envelope
) -> None:
    publisher.publish(envelope)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            publisher.publish(envelope)
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    publisher.publish(envelope)
    assert raw.llen(keys.RAW_QUEUE) == 3


def test_a_connection_that_the_server_closed_is_replaced_unnoticed(
    publisher: Broker, raw: redis.Redis, envelope: Envelope
) -> None:
    publisher.publish(envelope)
    raw.client_kill_filter(_type="normal", skipme=True)
    publisher.publish(envelope)
    assert raw.llen(keys.RAW_QUEUE) == 2


def test_a_full_server_is_unavailable_and_heals(
    publisher: Broker, raw: redis.Redis, envelope: Envelope
) -> None:
    raw.config_set("maxmemory", "1")
    try:
        with pytest.raises(Unavailable):
            publisher.publish(envelope)
    finally:
        raw.config_set("maxmemory", "0")
    publisher.publish(envelope)


def test_a_wrong_password_is_unavailable_and_not_repeated(redis_broker: Server, envelope: Envelope) -> None:
    publisher = broker_at(redis_broker.url.replace(PASSWORD, "other-word"))
    attempts: list[Callable[[], None]] = [lambda: publisher.publish(envelope), publisher.ping]
    for attempt in attempts:
        with pytest.raises(Unavailable) as error:
            attempt()
        assert "other-word" not in str(error.value)
    publisher.close()


@pytest.mark.parametrize("many", [False, True])
def test_kombus_own_consumers_read_what_is_published(
    redis_broker: Server, publisher: Broker, raw: redis.Redis, envelope: Envelope, *, many: bool
) -> None:
    """Body, header and acknowledgement; what they do not acknowledge goes back to where we find it."""
    if many:
        publisher.publish_many([envelope, envelope])
    else:
        publisher.publish(envelope)
        publisher.publish(envelope)
    with (
        kombu.Connection(redis_broker.url, transport_options={"priority_steps": [0]}) as connection,
        connection.SimpleQueue(
            kombu.Queue(keys.RAW_QUEUE, kombu.Exchange(""), routing_key=keys.RAW_QUEUE)
        ) as queue,
    ):
        message = queue.get(timeout=10)
        assert message.body == envelope.body
        assert message.headers["deedbox"][:3] == [1, envelope.source, envelope.received_at]
        message.ack()
        queue.get(timeout=10).requeue()
        assert raw.llen(keys.RAW_QUEUE) == 1
    assert read_back(raw) == envelope


@pytest.fixture
def line(publisher: Broker) -> Iterator[RedisLine]:
    assert isinstance(publisher, RedisBroker)
    found = publisher.line()
    assert found is not None
    yield found
    found.close()


def answered(line: RedisLine) -> bool:
    select.select([line.descriptor], [], [], 60)
    return line.is_answered()


def test_a_line_publishes_what_the_thread_does_and_says_when_redis_has_it(
    redis_broker: Server, line: RedisLine, raw: redis.Redis, envelope: Envelope
) -> None:
    with redis_broker.frozen():
        line.send([envelope, envelope])
        assert not line.is_answered()
    assert answered(line)
    assert not line.is_answered()
    assert [read_back(raw), read_back(raw)] == [envelope, envelope]
    line.send([envelope])
    assert answered(line)


def test_a_line_on_which_redis_refuses_or_ends_is_broken(
    line: RedisLine, raw: redis.Redis, envelope: Envelope
) -> None:
    raw.set(keys.RAW_QUEUE, "no list")
    line.send([envelope])
    with pytest.raises(redis.RedisError):
        answered(line)
    raw.client_kill_filter(_type="normal", skipme=True)
    with pytest.raises((redis.RedisError, OSError)):
        answered(line)


def test_there_is_no_line_where_replicas_have_to_confirm(redis_broker: Server) -> None:
    broker = broker_at(redis_broker.url, limit=8, wait_replicas=1)
    assert isinstance(broker, RedisBroker)
    assert broker.line() is None
