"""Fills a broker before workers are measured, in the very form in which each subject's web process does it."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections.abc import Sequence
from typing import Final, cast

from redis import Redis
from rq import Queue

from deedbox.ingress.receive.ladder import Accepted
from deedbox.shared.core.callback import parse_callback
from deedbox.shared.core.identity import ordering_key
from deedbox.shared.core.signature import BodySignature
from tests.bench import subjects
from tests.bench.peers.rq_tasks import handle
from tests.bench.redis_server import Server
from tests.support.brokers import broker_at

PARKED: Final = "bench:parked"
"""Where work waits until the consumers may have it: one RENAME hands over all of it at once."""


def publish(redis: Server, subject: str, texts: Sequence[bytes]) -> None:
    """Put callbacks into the broker one by one, as the subject's ingress would."""
    if subject == subjects.DEEDBOX:
        publisher = broker_at(redis.url, limit=1)
        for number, text in enumerate(texts):
            publisher.publish(
                accepted(text).envelope(time.time(), f"{random.Random(number).getrandbits(128):032x}")
            )
        publisher.close()
    elif subject == subjects.FLASK_RQ:
        queue = Queue(connection=redis.client)
        for text in texts:
            queue.enqueue(handle, json.loads(text))
    elif subject == subjects.FASTAPI_TASKIQ:
        asyncio.run(_kiq_all(redis.url, texts))
    else:
        _delay_all(redis.url, texts)


def accepted(text: bytes) -> Accepted:
    """Return what the receiver's ladder makes of a genuine callback."""
    callback = parse_callback(text)
    key = str(ordering_key(callback))
    return Accepted("default", callback.event_type, BodySignature.VALID, text, key)


def fill(redis: Server, subject: str, texts: tuple[bytes, ...]) -> None:
    """Park callbacks; the same as ``publish``, faster. ``hand_over`` makes them visible."""
    if subject == subjects.FLASK_RQ:
        queue = Queue(connection=redis.client)
        jobs = [Queue.prepare_data(handle, (json.loads(text),), timeout=180) for text in texts]
        queue.enqueue_many(jobs)
        redis.client.rename(subjects.RQ_QUEUE, PARKED)
        return
    messages = _messages(redis, subject, texts)
    pipeline = redis.client.pipeline(transaction=False)
    for first in range(0, len(messages), 500):
        pipeline.rpush(PARKED, *messages[first : first + 500])
    pipeline.execute()


def hand_over(redis: Server, subject: str) -> None:
    """Let the consumers have what is parked."""
    queue = subjects.QUEUES[subject]
    assert queue is not None
    redis.client.rename(PARKED, queue)


_known: dict[tuple[str, int], list[bytes]] = {}


def _messages(redis: Server, subject: str, texts: tuple[bytes, ...]) -> list[bytes]:
    """Return the broker messages of the texts, from the left of the list; made once per run by real publishing."""
    found = _known.get((subject, len(texts)))
    if found is None:
        queue = subjects.QUEUES[subject]
        assert queue is not None
        publish(redis, subject, texts)
        found = cast("list[bytes]", redis.client.lrange(queue, 0, -1))
        _known[subject, len(texts)] = found
        redis.client.flushall()
    return found


def _delay_all(url: str, texts: Sequence[bytes]) -> None:
    """Do what ``handle.delay(payload)`` does, on a connection to this Redis."""
    # The module makes its application from the environment, which belongs to the peers' processes.
    os.environ.setdefault("BENCH_REDIS_URL", url)
    from tests.bench.peers.celery_app import app, handle

    with app.connection_for_write(url) as connection:
        producer = app.amqp.Producer(connection)
        for text in texts:
            handle.apply_async((json.loads(text),), producer=producer)


async def _kiq_all(url: str, texts: Sequence[bytes]) -> None:
    """Do what ``handle.kiq(payload)`` does, through a broker on this Redis."""
    os.environ.setdefault("BENCH_REDIS_URL", url)
    from taskiq_redis import ListQueueBroker

    from tests.bench.peers.taskiq_app import handle

    broker = ListQueueBroker(url=url)
    await broker.startup()
    kicker = handle.kicker().with_broker(broker)
    for text in texts:
        await kicker.kiq(json.loads(text))
    await broker.shutdown()


def kept_bytes(client: Redis) -> int:
    """Return Redis's memory in use."""
    return int(client.info("memory")["used_memory"])
