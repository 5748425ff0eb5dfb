"""A broker that is no Redis, through kombu's transport in memory."""

from __future__ import annotations

from collections.abc import Iterator

import kombu
import pytest

from deedbox.ops.readmodels.broker import look_at_kombu
from deedbox.ops.readmodels.stages import Stage
from deedbox.shared.broker import topology
from deedbox.shared.redis import keys


@pytest.fixture
def connection() -> Iterator[kombu.Connection]:
    with kombu.Connection("memory://") as opened:
        yield opened
        topology.raw_queue("memory")(opened.default_channel).purge()


def test_a_queue_that_nobody_declared_is_empty() -> None:
    view = look_at_kombu("memory://")
    assert (view.broker, view.trouble) == (Stage(0), "")


def test_messages_are_counted(connection: kombu.Connection) -> None:
    topology.declare(connection)
    producer = connection.Producer()
    for _ in range(3):
        producer.publish(b"x", routing_key=keys.RAW_QUEUE)

    assert look_at_kombu("memory://").broker == Stage(3)
