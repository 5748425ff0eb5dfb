"""What the lanes and the sweeper cannot report, the ops process reports itself: Redis away, a lane without workers."""

from __future__ import annotations

from pathlib import Path

import pytest
from redis import Redis

from deedbox.ops.alerts.watch import FaultWatch
from deedbox.ops.installation import Installation
from deedbox.shared.alerts.targets import receivers
from deedbox.shared.redis import keys
from deedbox.shared.redis.scripting import Scripts
from deedbox.shared.settings import Settings
from deedbox.workers.builtins.alert import MESSAGE_LIFE_S, registered
from deedbox.workers.builtins.alert_desk import AlertDesk
from deedbox.workers.internal_events import Filing
from deedbox.workers.sweeper.alert_conditions import ConditionWatch
from tests.component.ops_web.conftest import StartOps
from tests.component.workers.rig import declare
from tests.component.workers.server import RedisServer, until
from tests.support.alert_receiver import AlertReceiver

pytestmark = pytest.mark.real_redis


def _watching(
    redis_server: RedisServer, receiver: AlertReceiver, folder: Path
) -> tuple[FaultWatch, Installation]:
    settings = Settings.load({
        "DEEDBOX_REDIS_URL": redis_server.url, "DEEDBOX_API_KEYS": "k", "DEEDBOX_DATA_DIR": str(folder),
        "DEEDBOX_ALERT_URLS": receiver.url,
    })  # fmt: skip
    return FaultWatch(receivers(settings), hold_s=0), Installation(settings)


def test_a_redis_that_does_not_answer_is_reported_and_so_is_its_return(
    redis_server: RedisServer, state: Redis, tmp_path: Path
) -> None:
    del state  # emptied
    with AlertReceiver() as receiver:
        watch, installation = _watching(redis_server, receiver, tmp_path)
        watch.once(installation, 0)
        assert receiver.titles == []
        redis_server.kill()
        try:
            watch.once(installation, 5)
            watch.once(installation, 10)
        finally:
            redis_server.start()
        watch.once(installation, 15)
        watch.once(installation, 20)
    assert receiver.titles == [
        "Deedbox: Redis does not answer",
        "Deedbox: resolved: Redis does not answer",
    ]
    assert redis_server.url.split("/")[2] in receiver.taken[0]["message"]


def test_a_lane_with_work_and_no_worker_is_reported_by_one_of_several_ops_processes(
    redis_server: RedisServer, state: Redis, tmp_path: Path
) -> None:
    declare(state, crm="crm")
    state.hset(keys.DEPTHS, "crm", 3)
    with AlertReceiver() as receiver:
        for _ in range(2):
            watch, installation = _watching(redis_server, receiver, tmp_path)
            watch.once(installation, 0)
    assert receiver.titles == ["Deedbox: a lane has no living worker (crm)"]
    assert "start `deedbox worker --lane crm`" in receiver.taken[0]["message"]


@pytest.mark.parametrize("waiting", ["crm", "gone"])
def test_a_standing_fault_is_reported_by_the_ops_process_alone(
    redis_server: RedisServer, state: Redis, tmp_path: Path, waiting: str
) -> None:
    """Law: one fault is one message. The sweeper, which looks at the same state, adds none."""
    declare(state, crm="crm")
    state.hset(keys.DEPTHS, waiting, 3)
    filing = Filing(Scripts(state), lambda _lane: None, registered(lambda _e, _c: None), MESSAGE_LIFE_S)
    desk, now = AlertDesk(state, filing, ("someone",)), [1000.0]
    sweeper = ConditionWatch(state, desk, lambda: now[0])
    with AlertReceiver() as receiver:
        watch, installation = _watching(redis_server, receiver, tmp_path)
        for _ in range(3):
            watch.once(installation, now[0])
            sweeper.once()
            now[0] += 3600
    assert (len(receiver.titles), desk.read()[0].on) == (1, {})
    if waiting == "gone":
        assert "`deedbox actions end gone`" in receiver.taken[0]["message"]
        assert "`deedbox actions rename gone NEW`" in receiver.taken[0]["message"]


def test_a_receiver_that_is_away_gets_the_message_later(
    redis_server: RedisServer, state: Redis, tmp_path: Path
) -> None:
    state.set(keys.lane("sequencer", "depth"), 3)
    declare(state, crm="crm")
    state.hset(keys.DEPTHS, "crm", 3)
    with AlertReceiver() as receiver:
        receiver.away = True
        watch, installation = _watching(redis_server, receiver, tmp_path)
        watch.once(installation, 0)
        assert receiver.titles == []
        receiver.away = False
        watch.once(installation, 5)
    assert receiver.titles == ["Deedbox: a lane has no living worker (crm)"]


def test_the_ops_process_reports_by_itself(start_ops: StartOps, redis_server: RedisServer) -> None:
    with AlertReceiver() as receiver:
        start_ops(DEEDBOX_ALERT_URLS=receiver.url)
        redis_server.kill()
        try:
            until(lambda: receiver.titles == ["Deedbox: Redis does not answer"], "it is reported")
        finally:
            redis_server.start()
