"""Letters made of what a broker gave up on: found by what they are about, and sent back."""

from __future__ import annotations

import pytest
from redis import Redis

from deedbox.ops.repair.collect import collect
from deedbox.shared.redis import keys
from deedbox.workers.bridge.bridge import redrive
from tests.component.conftest import Operate
from tests.component.workers.rig import Deployment, Journal, action, message, sent, viewed
from tests.support.memory_broker import MemoryBroker

pytestmark = pytest.mark.real_redis


def test_collected_letters_are_filtered_and_redriven(operate: Operate, state: Redis) -> None:
    deployment = Deployment(state, action(journal := Journal()))
    broker = MemoryBroker()
    broker.dead.extend([message(sent(0, "r1")), message(viewed(5, "r2"), source="emea"), b"junk"])
    assert collect(broker, deployment.scripts) == 3
    assert not broker.dead

    def ids(*arguments: str) -> list[str]:
        return [row["id"] for row in operate("dead", "list", "--json", *arguments).document["letters"]]

    assert ids("--reason", "undeliverable") == ["3", "2", "1"]
    assert ids("--source", "emea") == ids("--key", "r2") == ids("--type", "signature_request_viewed") == ["2"]
    assert ids("--key", "r1", "--source", "default") == ["1"]

    assert operate("dead", "redrive", "--key", "r1", "--yes").code == 0
    redrive(deployment.scripts, deployment.rung.append)
    deployment.run()
    assert journal.types("r1") == ["sent"]
    assert ids() == ["3", "2"]
    assert state.llen(keys.REDRIVE) == 0
