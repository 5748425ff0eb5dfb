"""Letters made of what a broker gave up on: found by what they are about, and sent back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest
from redis import Redis

from deedbox.ops.readmodels.broker_queues import BrokerQueues
from deedbox.ops.repair.collect import collect
from deedbox.shared.redis import keys
from deedbox.workers.bridge import redis_bridge
from tests.component.ops.conftest import Operate
from tests.component.workers.rig import Deployment, Journal, action, message, sent, viewed

pytestmark = pytest.mark.real_redis


class Given(BrokerQueues):
    """A broker's dead-letter queue that holds these messages."""

    def __init__(self, *messages: bytes) -> None:
        self.left = list(messages)

    def take_dead(self) -> Iterator[tuple[bytes, Callable[[], None]]]:
        for each in tuple(self.left):
            yield each, partial(self.left.remove, each)


def test_collected_letters_are_filtered_and_redriven(operate: Operate, state: Redis) -> None:
    deployment = Deployment(state, action(journal := Journal()))
    queues = Given(message(sent(0, "r1")), message(viewed(5, "r2"), source="emea"), b"junk")
    assert collect(queues, deployment.scripts) == 3
    assert queues.left == []

    def ids(*arguments: str) -> list[str]:
        return [row["id"] for row in operate("dead", "list", "--json", *arguments).document["letters"]]

    assert ids("--reason", "undeliverable") == ["3", "2", "1"]
    assert ids("--source", "emea") == ids("--key", "r2") == ids("--type", "signature_request_viewed") == ["2"]
    assert ids("--key", "r1", "--source", "default") == ["1"]

    assert operate("dead", "redrive", "--key", "r1", "--yes").code == 0
    redis_bridge.redrive(deployment.scripts, deployment.rung.append)
    deployment.run()
    assert journal.types("r1") == ["sent"]
    assert ids() == ["3", "2"]
    assert state.llen(keys.REDRIVE) == 0
