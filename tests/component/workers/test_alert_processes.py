"""Alerts by real processes: a sequencer, a sweeper, a worker of the lane, and a receiver over HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from deedbox.shared.records.subscriptions import announced
from deedbox.shared.redis import keys
from tests.component.workers.fleet import Fleet
from tests.component.workers.rig import Deployment, P, callback, sent
from tests.component.workers.server import RedisServer, until
from tests.support.alert_receiver import AlertReceiver

pytestmark = [pytest.mark.real_redis, pytest.mark.e2e]

STORM = 500
WINDOW_S = 4.0


@pytest.fixture
def receiver() -> Iterator[AlertReceiver]:
    with AlertReceiver() as running:
        yield running


@pytest.fixture
def running(
    redis_server: RedisServer, state: Redis, tmp_path: Path, receiver: AlertReceiver
) -> Iterator[tuple[Fleet, Deployment]]:
    """Lend the processes of a deployment with alerts, and a way to hand them callbacks."""
    assert state.dbsize() == 0
    deployment = Deployment(state)  # first: it declares no action, and the newest declaration counts
    fleet = Fleet(
        redis_server, tmp_path, DEEDBOX_BUILTINS="alert", DEEDBOX_ALERT_URLS=receiver.url,
        DEEDBOX_ALERT_WINDOW_S=str(WINDOW_S), DEEDBOX_ALERT_PER_HOUR="1000",
    )  # fmt: skip
    for lane in (keys.SEQUENCER, keys.ALERTS_LANE):
        fleet.worker(lane)
    fleet.worker()
    fleet.start("sweeper")
    # What is released before goes to no action.
    until(
        lambda: {"act", "alert"} <= announced(state).lane_of.keys(),
        f"the actions are declared\n{fleet.log()}",
    )
    yield fleet, deployment
    fleet.close()


def test_a_decline_is_told_within_seconds_and_says_nothing_about_the_signer(
    running: tuple[Fleet, Deployment], receiver: AlertReceiver
) -> None:
    fleet, deployment = running
    signer = {"signature_id": "s1", "signer_name": "Ada Lovelace", "signer_email_address": "ada@example.com"}
    deployment.deliver(callback(P + "declined", 5, related="s1", signatures=[signer], title="Lease of Ada"))
    until(lambda: receiver.taken, f"the decline is told\n{fleet.log()}")
    assert receiver.titles == ["Deedbox: a signer declined"]
    said = str(receiver.taken) + fleet.log()
    assert "r1" in receiver.taken[0]["message"]
    for private in ("Ada", "example.com", "s3cret"):
        assert private not in said


def test_a_storm_is_a_handful_of_messages_that_count_everything(
    running: tuple[Fleet, Deployment], receiver: AlertReceiver, state: Redis
) -> None:
    fleet, deployment = running
    began_at = time.monotonic()
    deployment.deliver(*(callback("file_error", 5, f"r{number}") for number in range(STORM)))

    def told() -> int:
        return sum(int(each["message"].split()[0]) for each in receiver.taken)

    until(lambda: told() >= STORM, f"all of the storm is told\n{fleet.log()}", patience_s=90)
    assert told() == STORM
    # One at once, one a window: three or four on a machine that does nothing else.
    assert len(receiver.taken) <= 2 + (time.monotonic() - began_at) / WINDOW_S
    assert state.zcard(keys.DEAD) == 0


def test_a_receiver_that_is_away_gets_the_message_later_and_delays_no_action(
    running: tuple[Fleet, Deployment], receiver: AlertReceiver
) -> None:
    fleet, deployment = running
    receiver.away = True
    deployment.deliver(callback("file_error", 5))
    until(lambda: receiver.refused, f"the receiver was tried\n{fleet.log()}")
    deployment.deliver(sent(request_id="r2"))
    fleet.ended("r2")
    receiver.away = False
    until(lambda: receiver.taken, f"the message came later\n{fleet.log()}")
    assert receiver.titles == ["Deedbox: a document could not be processed"]


def test_a_receiver_that_is_silent_delays_no_action(
    running: tuple[Fleet, Deployment], receiver: AlertReceiver
) -> None:
    fleet, deployment = running
    receiver.be_silent()
    deployment.deliver(callback("file_error", 5))
    fleet.ended("r1")
    deployment.deliver(sent(request_id="r2"))
    fleet.ended("r2")
    assert not receiver.taken
    receiver.answer_again()


def test_a_message_survives_the_process_that_was_sending_it(
    running: tuple[Fleet, Deployment], receiver: AlertReceiver
) -> None:
    fleet, deployment = running
    sender = fleet.started("worker", "--lane", keys.ALERTS_LANE)
    receiver.be_silent()
    deployment.deliver(callback("file_error", 5))
    until(lambda: receiver.asked, f"a message is being sent\n{fleet.log()}")
    sender.kill()
    sender.wait()
    receiver.answer_again(keep=False)
    fleet.worker(keys.ALERTS_LANE)
    until(lambda: receiver.taken, f"the message is sent by another process\n{fleet.log()}")
    assert receiver.titles == ["Deedbox: a document could not be processed"]


def test_dead_letters_are_told_and_so_is_their_end(
    running: tuple[Fleet, Deployment], receiver: AlertReceiver, state: Redis
) -> None:
    fleet, _ = running
    state.set(keys.dead("seq"), 1)
    state.hset(keys.dead("1"), mapping={"reason": "rejected", "source": "default", "action": "crm"})
    state.zadd(keys.DEAD, {"1": time.time()})
    until(lambda: receiver.taken, f"the dead letter is told\n{fleet.log()}")
    assert "rejected: 1" in receiver.taken[0]["message"]
    state.delete(keys.DEAD)
    until(lambda: len(receiver.taken) >= 2, f"the end is told\n{fleet.log()}")
    assert receiver.titles == ["Deedbox: dead letters", "Deedbox: resolved: dead letters"]
