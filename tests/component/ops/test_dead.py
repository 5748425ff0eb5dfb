"""``deedbox dead``: what was set aside can be read, sent back and removed, each once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from deedbox.shared.redis import inbox, keys, script_calls
from deedbox.shared.redis.scripting import Scripts
from deedbox.shared.retention import Retention
from deedbox.workers.actions.interface import Context, Event, Reject
from deedbox.workers.bridge.bridge import redrive
from tests.component.conftest import Operate
from tests.component.workers.rig import (
    Deployment,
    Journal,
    action,
    declare,
    depth,
    message,
    sent,
    viewed,
)

pytestmark = pytest.mark.real_redis


class Moody(Journal):
    """An action that rejects while it is in a bad mood."""

    bad = True

    def __call__(self, event: Event, context: Context) -> None:
        super().__call__(event, context)
        if self.bad:
            raise Reject("in a bad mood")


def _dead_actions(state: Redis, *bodies: bytes) -> tuple[Deployment, Moody]:
    moody = Moody()
    deployment = Deployment(state, action(moody, name="crm"), action(Journal(), name="other"))
    deployment.deliver(*bodies)
    deployment.run()
    return deployment, moody


def _redriven(deployment: Deployment) -> None:
    """Let the bridge, the sequencer and the lanes do what a redrive asked for."""
    redrive(deployment.scripts, deployment.rung.append)
    deployment.run()


def test_a_list_shows_the_newest_first_and_obeys_its_filters(operate: Operate, state: Redis) -> None:
    _dead_actions(state, sent(0, "r1"), sent(1, "r2"))
    _quarantine(state, b"no message")

    listed = operate("dead", "list", "--json").document
    assert listed["total"] == 3
    assert [row["reason"] for row in listed["letters"]] == ["undecodable", "rejected", "rejected"]
    assert [row["id"] for row in listed["letters"]] == ["3", "2", "1"]

    def ids(*arguments: str) -> list[str]:
        return [row["id"] for row in operate("dead", "list", "--json", *arguments).document["letters"]]

    assert ids("--reason", "undecodable") == ["3"]
    assert ids("--action", "crm") == ["2", "1"]
    assert ids("--limit", "1") == ["3"]
    page = operate("dead", "list").out
    assert "in a bad mood" in page
    assert "default:signature_request/r1" in page


def test_a_filter_of_an_action_that_no_letter_has_says_what_was_meant(operate: Operate, state: Redis) -> None:
    Deployment(state, action(Moody(), name="myapp.callbacks.boom")).deliver(sent())
    deployment = Deployment(state, action(Moody(), name="myapp.callbacks.boom"))
    deployment.run()

    for command in (("list",), ("redrive", "--yes"), ("discard", "--yes")):
        said = operate("dead", *command, "--action", "boom").out
        assert "Did you mean myapp.callbacks.boom?" in said


def test_filters_narrow_by_what_an_operator_knows(operate: Operate, state: Redis) -> None:
    deployment, _ = _dead_actions(state, sent(0, "r1"), viewed(1, "r1"))
    deployment.deliver(sent(0, "r2"), source="emea")
    deployment.run()
    state.zadd(keys.DEAD, {"1": time.time() - 7200})
    state.hset(keys.dead("1"), "at", f"{time.time() - 7200:.6f}")

    def ids(*arguments: str) -> list[str]:
        return [row["id"] for row in operate("dead", "list", "--json", *arguments).document["letters"]]

    assert ids("--key", "r1") == ["2", "1"]
    assert ids("--key", "signature_request/r2") == ["3"]
    assert ids("--source", "emea") == ["3"]
    assert ids("--type", "signature_request_sent") == ["3", "1"]
    assert ids("--type", "signature_request_v*", "--action", "crm") == ["2"]
    assert ids("--since", "1h") == ["3", "2"]
    assert ids("--until", "1h") == ["1"]
    assert ids("--since", "3h", "--until", "90m", "--source", "default") == ["1"]
    assert operate("dead", "list", "--since", "soon").code == 2
    done = operate("dead", "discard", "--key", "r1", "--since", "1h", "--yes", "--json").document
    assert done == {"plan": {"letters": ["2"]}, "done": {"discarded": 1}}
    plan = operate("dead", "redrive", "--until", "1h", "--dry-run", "--json").document["plan"]
    assert (plan["letters"], plan["late"], plan["refused"]) == (["1"], 1, [])
    assert operate("dead", "redrive", "--until", "1h", "--yes", "--json").document["done"]["redriven"] == 1
    assert [row["id"] for row in deployment.letters()] == [b"3"]


def test_a_letter_of_an_action_that_moved_goes_to_its_lane_of_now(operate: Operate, state: Redis) -> None:
    _dead_actions(state, sent())
    declare(state, crm="crm")

    operate("dead", "redrive", "--all", "--yes")

    assert depth(state) == 1
    assert state.llen(f"rq:queue:{keys.rq_queue('crm')}") == 1


@pytest.mark.parametrize("command", ["redrive", "discard"])
def test_an_event_of_two_letters_lives_until_both_are_gone(
    operate: Operate, state: Redis, command: str
) -> None:
    """P2: two actions died of one event, and only one of them has been looked after."""
    crm, erp = Moody(), Moody()
    deployment = Deployment(state, action(crm, name="crm"), action(erp, name="erp"))
    deployment.deliver(sent())
    deployment.run()
    crm.bad = erp.bad = False
    first, second = deployment.letters()
    event = keys.event(first["event"].decode())

    operate("dead", command, first["id"].decode(), "--yes")
    assert state.ttl(event) == -1
    operate("dead", command, second["id"].decode(), "--yes")
    deployment.work()
    assert 0 < int(state.ttl(event)) <= Retention().events_s


def test_an_event_that_is_emitted_again_keeps_the_life_that_its_letter_needs(
    operate: Operate, state: Redis
) -> None:
    def emitting(_event: Event, context: Context) -> None:
        context.emit("deedbox.thing", {"n": 1})

    del operate
    deployment = Deployment(state, action(emitting, name="emitting"), action(Moody(), "deedbox.thing"))
    deployment.deliver(sent())
    deployment.run()
    deployment.deliver(viewed(1))
    deployment.run()
    (letter,) = deployment.letters()
    assert state.ttl(keys.event(letter["event"].decode())) == -1


def test_a_redriven_action_runs_again_alone_with_the_same_idempotency_key(
    operate: Operate, state: Redis
) -> None:
    deployment, moody = _dead_actions(state, sent())
    others = deployment.registry.get("other")
    assert others is not None
    moody.bad = False

    answer = operate("dead", "redrive", "--all", "--yes")
    deployment.run()

    assert (answer.code, "Redriven: 1 dead letter." in answer.out) == (0, True)
    (_, first), (event, second) = moody.calls
    assert first.idempotency_key == second.idempotency_key
    assert (second.attempt, second.waiting_since, second.replay, event.late) == (1, None, False, False)
    assert isinstance(others.function, Journal)
    assert len(others.function.calls) == 1
    assert deployment.letters() == []
    assert depth(state) == 0


def test_redriven_together_they_run_in_the_order_of_their_events_and_late_ones_know_it(
    operate: Operate, state: Redis
) -> None:
    deployment, moody = _dead_actions(state, sent(0), viewed(5), viewed(9))
    ids = [row["id"].decode() for row in deployment.letters()]
    moody.bad = False
    moody.calls.clear()

    answer = operate("dead", "redrive", *reversed(ids), "--yes")
    deployment.run()

    assert "2 events will be flagged late" in answer.out
    assert moody.types() == ["sent!", "viewed!", "viewed"]


def test_a_redrive_rings_a_lane_whose_workers_sleep(operate: Operate, state: Redis) -> None:
    deployment, _ = _dead_actions(state, sent(0, "r1"), sent(0, "r2"))
    state.delete(keys.lane("default", "idle"))  # the lease that looked last is over
    bells = f"rq:queue:{keys.rq_queue('default')}"

    operate("dead", "redrive", "--action", "crm", "--yes")

    assert state.llen(bells) == 1  # one for both: a doorbell that waits is enough
    assert deployment.letters() == []


def test_an_undecodable_message_goes_back_to_the_bridge_as_it_was(operate: Operate, state: Redis) -> None:
    deployment = Deployment(state, action(journal := Journal()))
    good = message(sent())
    broken = good.replace(b'"deedbox":[1,', b'"deedbox":[9,')
    assert broken != good
    _quarantine(state, broken)
    letter_id = deployment.letters()[0]["id"].decode()

    operate("dead", "redrive", letter_id, "--yes")
    assert deployment.letters() == []
    assert state.lrange(keys.REDRIVE, 0, -1) == [broken]
    _redriven(deployment)
    assert [row["reason"] for row in deployment.letters()] == [
        b"undecodable"
    ]  # this version cannot read it either

    state.hset(keys.dead(deployment.letters()[0]["id"].decode()), "raw", good)  # as if a later version could
    operate("dead", "redrive", "--reason", "undecodable", "--yes")
    _redriven(deployment)
    assert journal.types() == ["sent"]
    assert deployment.letters() == []


def test_an_event_that_was_too_old_is_processed_when_redriven(operate: Operate, state: Redis) -> None:
    journal = Journal()
    deployment = Deployment(state, action(journal), max_event_age_s=60)
    deployment.deliver(sent(0), received_at=time.time() + 10**9)
    deployment.run()
    assert [row["reason"] for row in deployment.letters()] == [b"too_old"]

    answer = operate("dead", "redrive", "--reason", "too_old", "--yes")
    _redriven(deployment)

    assert answer.code == 0
    assert journal.types() == ["sent"]
    assert deployment.letters() == []


def test_a_letter_whose_event_is_gone_cannot_go_back_and_says_so(operate: Operate, state: Redis) -> None:
    deployment, _ = _dead_actions(state, sent(0, "r1"), sent(0, "r2"))
    letter = deployment.letters()[0]
    letter_id = letter["id"].decode()
    state.delete(keys.event(letter["event"].decode()))

    answer = operate("dead", "redrive", letter_id, "--yes")

    assert answer.code == 1
    assert "its event is gone" in answer.out
    assert f"`deedbox dead discard {letter_id}`" in answer.out
    assert len(deployment.letters()) == 2
    assert operate("dead", "redrive", "--all", "--yes").code == 0
    assert [row["id"].decode() for row in deployment.letters()] == [letter_id]


def test_a_letter_without_a_message_cannot_go_back(operate: Operate, state: Redis) -> None:
    letter = {"reason": "spool_damaged", "detail": "12 bytes in web-1's quarantine"}
    script_calls.append(Scripts(state), letters=[letter])

    answer = operate("dead", "redrive", "1", "--yes")

    assert answer.code == 1
    assert "it holds no message" in answer.out
    assert operate("dead", "list", "--json").document["total"] == 1


def test_a_redrive_keeps_the_event_until_its_next_outcome(operate: Operate, state: Redis) -> None:
    deployment, _ = _dead_actions(state, sent())
    key = keys.event(deployment.letters()[0]["event"].decode())
    state.expire(key, 60)

    operate("dead", "redrive", "--all", "--yes")

    assert state.ttl(key) == -1


@pytest.mark.parametrize("command", ["redrive", "discard"])
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--all", "--dry-run"], 0),
        (["--all"], 2),  # nobody to ask
        ([], 2),
        (["1", "--all", "--yes"], 2),
        (["1", "999", "--yes"], 1),
    ],
)
def test_nothing_is_changed_without_a_clear_word(
    operate: Operate, state: Redis, command: str, arguments: list[str], code: int
) -> None:
    deployment, _ = _dead_actions(state, sent())
    before = deployment.letters()

    answer = operate("dead", command, *arguments)

    assert answer.code == code
    assert answer.sentence or code == 0
    assert deployment.letters() == before


def test_a_discarded_letter_is_gone_and_the_others_stay(operate: Operate, state: Redis) -> None:
    deployment, moody = _dead_actions(state, sent(0, "r1"), sent(0, "r2"))
    first, second = (row["id"].decode() for row in deployment.letters())

    assert "Discarded 1 dead letter." in operate("dead", "discard", first, "--yes").out
    deployment.run()

    assert [row["id"].decode() for row in deployment.letters()] == [second]
    assert not state.exists(keys.dead(first))
    assert len(moody.calls) == 2


def test_an_event_lives_as_long_as_a_dead_letter_needs_it(operate: Operate, state: Redis) -> None:
    """P2: a person may come back to a letter later than stored events live."""
    deployment, _ = _dead_actions(state, sent())
    (letter,) = deployment.letters()
    event = keys.event(letter["event"].decode())
    assert state.ttl(event) == -1  # no end

    operate("dead", "discard", letter["id"].decode(), "--yes")

    assert 0 < int(state.ttl(event)) <= Retention().events_s


def test_two_operators_redrive_a_letter_once(
    operate: Operate, state: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment, moody = _dead_actions(state, sent())
    moody.bad = False
    call: Callable[..., Any] = Scripts.call

    def slow(self: Scripts, name: str, *args: str | bytes | float) -> Any:
        if name == "redrive":
            call(self, name, *args)  # the other operator is faster by one call
        return call(self, name, *args)

    monkeypatch.setattr(Scripts, "call", slow)
    answer = operate("dead", "redrive", "--all", "--yes")
    monkeypatch.undo()
    deployment.run()

    assert "Gone meanwhile" in answer.out
    assert len(moody.calls) == 2


def test_showing_a_letter_hides_people_unless_the_body_is_asked_for(operate: Operate, state: Redis) -> None:
    def fail(_event: Event, _context: Context) -> None:
        raise ValueError("jane.doe@example.com is unknown")

    deployment = Deployment(state, action(fail, name="crm", attempts=1))
    deployment.deliver(sent(title="Offer for Jane"))
    deployment.run()

    page = operate("dead", "show", "1").out
    assert "ValueError: <e-mail> is unknown" in page
    assert "Traceback" in page
    assert page.endswith("`deedbox runbook attempts_exhausted` says what to do.\n")
    assert "Jane" not in page
    assert "jane" not in page
    raw = operate("dead", "show", "1", "--raw", "--json").document["raw"]
    assert json.loads(raw)["signature_request"]["title"] == "Offer for Jane"
    assert operate("dead", "show", "99").code == 1


def _quarantine(state: Redis, raw: bytes) -> None:
    load = inbox.Load()
    load.add_message(raw)
    inbox.append(Scripts(state), load)
