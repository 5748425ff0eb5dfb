"""The alert desk on a real Redis: many tell, one message goes out; and what it may say."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from redis import Redis

from deedbox.shared.alerts.alerting import DEFAULT_EVENTS, SEND, AlertFact, Kind, Policy
from deedbox.shared.alerts.conditions import DANGER_FROM
from deedbox.shared.alerts.targets import AlertTarget
from deedbox.shared.core.errors import SettingsError
from deedbox.shared.redis import keys
from deedbox.shared.redis.scripting import Scripts
from deedbox.workers.__main__ import main
from deedbox.workers.actions.interface import Context, Event, Reject
from deedbox.workers.actions.interface import action as declare
from deedbox.workers.actions.loading import collect
from deedbox.workers.builtins.alert import MESSAGE_LIFE_S, Alert, registered
from deedbox.workers.builtins.alert_desk import AlertDesk
from deedbox.workers.internal_events import Filing
from deedbox.workers.sweeper.alert_conditions import ConditionWatch
from tests.component.workers.rig import Deployment, P, callback, expire_units, units
from tests.component.workers.server import RedisServer
from tests.support.alert_receiver import AlertReceiver
from tests.support.stored import body_at

pytestmark = pytest.mark.real_redis

SIGNER = {"signature_id": "s1", "signer_name": "Ada Lovelace", "signer_email_address": "ada@example.com",
          "status_code": "declined", "decline_reason": "Ada has moved"}  # fmt: skip


def _desk(redis: Redis, *receivers: str, policy: Policy = Policy()) -> AlertDesk:  # noqa: B008 - frozen
    filing = Filing(Scripts(redis), lambda _lane: None, registered(lambda _e, _c: None), MESSAGE_LIFE_S)
    return AlertDesk(redis, filing, receivers or ("someone",), policy)


def _filed(redis: Redis) -> list[dict[str, Any]]:
    """Return the messages on their way, oldest first."""
    found = []
    for unit in units(redis, "ready"):
        body = body_at(redis, keys.event(unit.decode().rpartition("|")[2]))
        found.append(json.loads(body))
    return sorted(found, key=lambda message: message["at"])


def _in_threads(count: int, work: Callable[[int], None]) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _bury(redis: Redis, number: int, reason: str = "rejected", of: str = "crm") -> None:
    redis.set(keys.dead("seq"), number)
    redis.hset(keys.dead(str(number)), mapping={"reason": reason, "source": "default", "action": of})
    redis.zadd(keys.DEAD, {str(number): number})


def test_many_processes_that_tell_of_a_storm_send_one_message_and_count_the_rest(state: Redis) -> None:
    def work(number: int) -> None:
        desk = _desk(state)
        for each in range(25):
            desk.tell(AlertFact("file_error", "default", f"{number}-{each}", f"r{number}-{each}"))

    _in_threads(6, work)
    (message,) = _filed(state)
    board = json.loads(state.get(keys.ALERTS) or b"")
    ((_kind, _source, _sent_at, _since, held, *_),) = board["state"]["groups"]
    assert message["count"] + held == 6 * 25


def test_a_message_goes_to_each_receiver_by_itself(state: Redis) -> None:
    _desk(state, "one", "two").tell(AlertFact("file_error", "default", "k", "r1"))
    assert {message["receiver"] for message in _filed(state)} == {"one", "two"}


def test_many_sweepers_tell_of_a_dead_letter_once_and_of_its_end_once(state: Redis) -> None:
    for number in range(1, 8):
        _bury(state, number, of="crm" if number % 2 else "alert")
    _in_threads(4, lambda _number: ConditionWatch(state, _desk(state)).look())
    (message,) = _filed(state)
    assert (message["kind"], message["count"], message["labels"]) == (Kind.DEAD_LETTERS, 4, {"rejected": 4})
    state.delete(keys.DEAD)
    _in_threads(4, lambda _number: ConditionWatch(state, _desk(state)).look())
    assert [each["recovered"] for each in _filed(state)] == [False, True]


def test_many_dead_letters_are_all_counted(state: Redis) -> None:
    for number in range(1, 601):
        _bury(state, number)
    ConditionWatch(state, _desk(state)).look()
    (message, *others) = _filed(state)
    assert message["count"] + sum(other["count"] for other in others) == 600
    assert len(others) <= 1
    ConditionWatch(state, _desk(state)).look()
    assert len(_filed(state)) == 1 + len(others)


def test_refusals_that_ingress_reports_are_told(state: Redis) -> None:
    watch = ConditionWatch(state, _desk(state))
    watch.look()
    state.hset(keys.SOURCES, mapping={"default|accepted": 5, "default|refused|bad_event_hash": 2})
    watch.look()
    assert not _filed(state)
    failures = ",".join(str(1_800_000_000 + number) for number in range(DANGER_FROM))
    state.hset(keys.SOURCES, mapping={"default|refused|bad_event_hash": 7, "default|failures": failures})
    watch.look()
    assert {message["kind"] for message in _filed(state)} == {Kind.SIGNATURE_FAILURES, Kind.URL_IN_DANGER}


def test_a_board_of_another_version_is_begun_anew(state: Redis) -> None:
    state.set(keys.ALERTS, '{"state": 7}')
    _desk(state).tell(AlertFact("file_error", "default", "k", "r1"))
    assert len(_filed(state)) == 1


def _deployment(state: Redis, receiver: AlertReceiver, *, details: bool) -> Deployment:
    one = AlertTarget(1, receiver.url)
    alert = Alert(_desk(state, one.identity), lambda: {one.identity: one}, details=details)
    return Deployment(state, registered(alert, DEFAULT_EVENTS))


def _decline() -> bytes:
    return callback(P + "declined", 9, related="s1", signatures=[SIGNER], title="Lease <@all> of Ada\x1b")


def _said(receiver: AlertReceiver) -> str:
    return json.dumps(receiver.taken)


@pytest.mark.parametrize("details", [False, True])
def test_a_decline_names_the_request_and_no_signer(state: Redis, *, details: bool) -> None:
    with AlertReceiver() as receiver:
        deployment = _deployment(state, receiver, details=details)
        deployment.deliver(_decline())
        deployment.run()
        deployment.work()
    assert receiver.titles == ["Deedbox: a signer declined"]
    assert "r1" in receiver.taken[0]["message"]
    assert ("Lease ??all? of Ada?" in receiver.taken[0]["message"]) is details
    for private in ("Lovelace", "ada@example.com", "moved", "<@", "\x1b", *(() if details else ("Lease",))):
        assert private not in _said(receiver)


def test_a_message_that_no_receiver_takes_waits_and_holds_up_no_other(state: Redis) -> None:
    with AlertReceiver() as receiver:
        deployment = _deployment(state, receiver, details=False)
        receiver.away = True
        deployment.deliver(_decline())
        deployment.run()
        deployment.work()
        assert (receiver.taken, receiver.refused, deployment.waiting()) == ([], 1, 1)
        receiver.away = False
        deployment.deliver(callback("file_error", 10))
        deployment.run()
        deployment.work()
        assert receiver.titles == ["Deedbox: a document could not be processed"]
        expire_units(state, "waiting")
        deployment.run_until(lambda: len(receiver.taken) == 2, "the message that waited is taken")
    assert not deployment.letters()


def test_a_message_does_not_wait_behind_the_storm_that_it_tells_of(state: Redis) -> None:
    with AlertReceiver() as receiver:
        deployment = _deployment(state, receiver, details=False)
        deployment.deliver(*(callback("file_error", 9, f"r{number}") for number in range(50)))
        deployment.drain()
        for _ in range(3):
            deployment.lanes[keys.ALERTS_LANE].drain_one("worker")
        assert len(receiver.taken) == 1
        assert deployment.left() > 30


def test_a_message_for_a_receiver_that_the_settings_name_no_more_ends(state: Redis) -> None:
    deployment = Deployment(state, registered(Alert(_desk(state, "gone"), dict), DEFAULT_EVENTS))
    deployment.deliver(_decline())
    deployment.run()
    deployment.work()
    assert deployment.left() == 0
    assert not deployment.letters()


def test_a_callback_that_calls_itself_an_alert_is_no_message(state: Redis) -> None:
    event = Event(
        SEND,
        1,
        1.0,
        "default",
        "type/deedbox.alert",
        None,
        None,
        False,
        False,
        "absent",
        "confirmed",
        {"x": 1},
    )
    with pytest.raises(Reject):
        Alert(_desk(state), dict)(event, Context("key", 1))


@pytest.mark.parametrize(
    ("words", "env", "sentence"),
    [
        (("lanes",), {"DEEDBOX_ALERT_URLS": "jsons://a.example,s3cret://x"}, "URL 2 of 2"),
        (("worker", "--lane", "alerts"), {"DEEDBOX_ALERT_URLS": "s3cret://x"}, "URL 1 of 1"),
        (("worker", "--lane", "alerts"), {}, "DEEDBOX_ALERT_URLS is not set"),
    ],
)
def test_unusable_receivers_end_the_start_with_one_sentence(
    words: tuple[str, ...], env: dict[str, str], sentence: str, redis_server: RedisServer,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    for name, value in {"DEEDBOX_API_KEYS": "k", "DEEDBOX_REDIS_URL": redis_server.url, **env}.items():
        monkeypatch.setenv(name, value)
    assert main(words) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert "s3cret" not in said


def test_an_action_of_the_application_may_not_take_the_lane_of_alerts() -> None:
    module = ModuleType("mine")
    module.mine = declare("file_error", lane=keys.ALERTS_LANE)(lambda _e, _c: None)  # type: ignore[attr-defined]
    with pytest.raises(SettingsError, match="reserved"):
        collect(module)
