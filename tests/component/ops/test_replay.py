"""``deedbox replay``: chosen actions run again on the stored past, in order, once per replay."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from deedbox.ops.installation import Installation
from deedbox.ops.repair import catalog, replay
from deedbox.ops.repair.catalog import choose, learned
from deedbox.shared.core.ordering import OrderingPolicy
from deedbox.shared.records.replay_order import ReplayOrder, ReplaySpan
from deedbox.shared.redis import keys
from deedbox.shared.redis.scripting import Scripts
from deedbox.shared.retention import Retention
from deedbox.shared.settings import Settings
from deedbox.workers.actions.loading import collect
from deedbox.workers.actions.registry import Registry
from deedbox.workers.bridge import bridge
from tests.component.conftest import Operate
from tests.component.ops import replayed
from tests.component.workers.rig import (
    CREATED_AT,
    Deployment,
    P,
    callback,
    declare,
    depth,
    members,
    sent,
    viewed,
)
from tests.component.workers.server import RedisServer

pytestmark = pytest.mark.real_redis


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Know the actions without asking a process, but for the test that does."""
    rows = Registry(collect(replayed)).describe()
    monkeypatch.setattr(catalog, "described", lambda _environ: {"actions": rows})


@pytest.fixture
def deployment(state: Redis) -> Deployment:
    for journal in replayed.JOURNALS:
        journal.calls.clear()
    return Deployment(state, *collect(replayed))


def _ran(deployment: Deployment, *bodies: bytes) -> None:
    """Let events run their first time, and forget that the actions saw them."""
    deployment.deliver(*bodies)
    deployment.run()
    for journal in replayed.JOURNALS:
        journal.calls.clear()


def test_a_replay_runs_the_chosen_action_only_in_event_order_with_a_key_of_its_own(
    operate: Operate, deployment: Deployment
) -> None:
    _ran(deployment, viewed(5), sent(0), viewed(9))

    answer = operate("replay", "r1", "--action", "crm", "--yes")
    deployment.run()

    assert answer.code == 0
    assert "3 events to replay" in answer.out
    assert "Queued 3 calls" in answer.out
    assert [event.time - CREATED_AT for event, _ in replayed.crm.calls] == [0, 5, 9]
    for event, context in replayed.crm.calls:
        assert context.replay
        assert context.attempt == 1
        assert context.idempotency_key.endswith(":crm:replay-1")
        assert event.late == (event.time < CREATED_AT + 9)
    assert replayed.loose.calls == []
    assert {line.get("replay") for line in deployment.timeline()[-3:]} == {1}
    assert "replay 1" in operate("trace", "r1").out
    assert deployment.left() == 0


def test_a_dead_letter_of_a_replayed_call_stays_and_is_mentioned(
    operate: Operate, deployment: Deployment, state: Redis
) -> None:
    _ran(deployment, sent(), sent(0, "r2"))
    for number, key in enumerate(("signature_request/r1", "signature_request/other"), 1):
        state.hset(
            keys.dead(str(number)),
            mapping={
                "id": number,
                "at": 1,
                "reason": "rejected",
                "action": "crm",
                "source": "default",
                "key": key,
            },
        )
        state.zadd(keys.DEAD, {str(number): 1})

    answer = operate("replay", "r1", "--action", "crm", "--yes")

    assert "1 dead letter of these requests and actions stays" in answer.out


def test_each_replay_has_another_number_and_leaves_nothing_behind(
    operate: Operate, deployment: Deployment, state: Redis
) -> None:
    _ran(deployment, sent())
    for number in (1, 2):
        operate("replay", "r1", "--action", "crm", "--yes")
        deployment.run()
        assert replayed.crm.calls[-1][1].idempotency_key.endswith(f":replay-{number}")
    assert len(replayed.crm.calls) == 2
    assert set(state.scan_iter(keys.replay(0)[:-1] + "*")) == {keys.REPLAY_SEQ.encode()}


def test_a_span_of_time_finds_every_source_and_request_in_it_and_no_other(
    operate: Operate, deployment: Deployment, state: Redis
) -> None:
    _ran(deployment, sent(0, "r1"), sent(0, "old"), callback("account_confirmed", 7, ""))
    deployment.deliver(sent(0, "r1"), source="emea")
    deployment.run()
    stream = "default:signature_request/old"
    for fingerprint in members(state, keys.seen(stream)):
        state.zadd(keys.seen(stream), {fingerprint: time.time() - 7200})
    for journal in replayed.JOURNALS:
        journal.calls.clear()

    plan = operate("replay", "--since", "1h", "--action", "loose", "--yes", "--json").document
    deployment.run()

    assert (plan["plan"]["requests"], plan["plan"]["events"], plan["done"]["appended"]) == (3, 3, 3)
    assert {(event.source, event.ordering_key) for event, _ in replayed.loose.calls} == {
        ("default", "signature_request/r1"),
        ("default", "type/account_confirmed"),
        ("emea", "signature_request/r1"),
    }

    def found(*arguments: str) -> int:
        said = operate("replay", "--action", "loose", "--dry-run", "--json", *arguments).document
        return int(said["plan"]["events"])

    assert found("--since", "3h") == 4
    assert found("--since", "3h", "--until", "1h") == 1
    assert found("--since", "3h", "--source", "emea") == 1
    assert found("--since", "3h", "--source", "e*") == 0
    assert found("--since", "3h", "--type", "account_*") == 1


def test_internal_events_are_replayed_for_actions_that_subscribe_to_them(
    operate: Operate, deployment: Deployment
) -> None:
    _ran(deployment, sent(), viewed(5))

    operate("replay", "r1", "--action", "stored", "--yes")
    deployment.run()

    [(event, context)] = replayed.stored.calls
    assert (event.type, event.late, context.replay) == ("deedbox.document_stored", False, True)


def test_what_cannot_be_replayed_is_counted_and_said(
    operate: Operate, state: Redis, deployment: Deployment
) -> None:
    patient = Deployment(state, *collect(replayed), order=OrderingPolicy(hold_s=600), max_event_age_s=3600)
    now = CREATED_AT + 10.0
    _ran(patient)
    patient.deliver(sent(0, "r2"), viewed(2, "r2"), received_at=now)
    patient.deliver(viewed(5, "r1"), received_at=now)  # its `sent` is missing: held
    patient.deliver(viewed(3, "r3"), received_at=now + 10_000)  # too old
    patient.run()
    [gone] = [line["event"] for line in patient.timeline("r2") if line["kind"] == "released"][:1]
    state.delete(keys.event(gone))
    del deployment

    said = operate("replay", "--since", "1h", "--action", "crm", "--dry-run").out
    plan = operate("replay", "--since", "1h", "--action", "crm", "--dry-run", "--json").document["plan"]

    assert (plan["events"], plan["expired"], plan["held"], plan["set_aside"]) == (1, 1, 1, 1)
    assert "1 event that expired" in said
    assert "1 event still held" in said
    assert "dead redrive --reason too_old" in said


def test_a_redriven_event_is_replayed_once(operate: Operate, state: Redis, deployment: Deployment) -> None:
    """It was set aside under one identity and dispatched under another: only the second ran."""
    del deployment
    strict = Deployment(state, *collect(replayed), max_event_age_s=60)
    strict.deliver(sent(), received_at=CREATED_AT + 1000.0)
    strict.run()
    operate("dead", "redrive", "--all", "--yes")
    bridge.redrive(strict.scripts, strict.rung.append)
    strict.run()
    replayed.crm.calls.clear()

    operate("replay", "r1", "--action", "crm", "--yes")
    strict.run()

    assert len(replayed.crm.calls) == 1


def test_a_replay_goes_to_the_lane_of_now_and_rings_it(
    operate: Operate, state: Redis, deployment: Deployment
) -> None:
    _ran(deployment, sent())
    declare(state, crm="sales")

    operate("replay", "r1", "--action", "crm", "--yes")

    assert depth(state) == 1
    assert state.llen(f"rq:queue:{keys.rq_queue('sales')}") == 1


def test_a_replayed_event_lives_long_enough_to_be_worked_off(
    operate: Operate, state: Redis, deployment: Deployment
) -> None:
    _ran(deployment, sent())
    [line] = [line for line in deployment.timeline() if line["kind"] == "arrived"]
    state.expire(keys.event(line["event"]), 60)

    operate("replay", "r1", "--action", "crm", "--yes")

    assert state.ttl(keys.event(line["event"])) == -1
    deployment.work()
    assert int(state.ttl(keys.event(line["event"]))) > Retention().events_s - 60


def test_entries_that_wait_already_are_said_and_come_first(operate: Operate, deployment: Deployment) -> None:
    deployment.deliver(sent(), viewed(4))
    deployment.drain()

    assert "behind 2 entries that wait already" in operate("replay", "r1", "--action", "crm", "--yes").out
    deployment.run()

    assert [(event.type, context.replay) for event, context in replayed.crm.calls] == [
        (P + "sent", False),
        (P + "viewed", False),
        (P + "sent", True),
        (P + "viewed", True),
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["r1"], "--action NAME"),
        (["--action", "crm"], "--since"),
        (["r1", "--action", "crn"], "There is no action crn; the registered ones are crm, loose, stored."),
        (["r1", "--action", "crm", "--type", "a b"], "--type"),
        (["--since", "yesterday", "--action", "crm"], "--since is no time; give 30m, 2h"),
        (["--since", "1h", "--until", "2h", "--action", "crm"], "--until is not after --since"),
        (["r1", "--action", "crm", "--json"], "add --yes, or look first with --dry-run"),
        (["r1", "--action", "crm"], "no terminal"),
        (["r1", "--resume", "1"], "give it alone"),
    ],
)
def test_what_is_not_clear_is_refused_in_one_sentence_and_changes_nothing(
    operate: Operate, state: Redis, deployment: Deployment, arguments: list[str], words: str
) -> None:
    _ran(deployment, sent())
    before = state.dbsize()

    answer = operate("replay", *arguments)

    assert answer.code == 2
    assert words in answer.sentence
    assert state.dbsize() == before
    assert deployment.left() == 0


def test_nothing_to_replay_is_said_and_is_no_replay(
    operate: Operate, state: Redis, deployment: Deployment
) -> None:
    _ran(deployment, sent())
    answer = operate("replay", "unknown", "--action", "crm", "--yes")
    assert (answer.code, "Nothing to replay" in answer.out) == (0, True)
    assert not state.exists(keys.REPLAY_SEQ)


class Killed(BaseException):
    """The operator's process is gone."""


def _dying(monkeypatch: pytest.MonkeyPatch, after: int, *, before_the_call: bool) -> None:
    """Kill the command at its n-th append: just before it takes effect, or just after."""
    call: Callable[..., Any] = Scripts.call
    made = [0]

    def deadly(self: Scripts, name: str, *args: str | bytes | float) -> Any:
        if name == "replay":
            made[0] += 1
            if made[0] == after and before_the_call:
                raise Killed
        reply = call(self, name, *args)
        if name == "replay" and made[0] == after:
            raise Killed
        return reply

    monkeypatch.setattr(Scripts, "call", deadly)


@pytest.mark.parametrize("before_the_call", [True, False])
@pytest.mark.parametrize("after", [1, 2, 3, 5])
def test_an_interrupted_replay_goes_on_and_queues_nothing_twice(
    operate: Operate,
    deployment: Deployment,
    monkeypatch: pytest.MonkeyPatch,
    after: int,
    *,
    before_the_call: bool,
) -> None:
    monkeypatch.setattr(replay, "PIECE", 2)
    _ran(deployment, *(callback(P + "remind", at, request) for request in ("a", "b") for at in range(5)))
    with monkeypatch.context() as patched:
        _dying(patched, after, before_the_call=before_the_call)
        with pytest.raises(Killed):
            operate("replay", "--since", "1h", "--action", "crm", "--yes")
    deployment.deliver(callback(P + "remind", 9, "a"))  # not a part of it: it came after
    deployment.run()

    assert operate("replay", "--resume", "1", "--yes").code == 0
    deployment.run()

    runs = [(e.signature_request_id, e.time - CREATED_AT) for e, c in replayed.crm.calls if c.replay]
    assert sorted(runs) == [(request, at) for request in ("a", "b") for at in range(5)]
    assert [at for request, at in runs if request == "a"] == list(range(5))
    keys_seen = {context.idempotency_key for _, context in replayed.crm.calls if context.replay}
    assert len(keys_seen) == 10
    over = operate("replay", "--resume", "1", "--yes")
    assert (over.code, "There is no interrupted replay 1" in over.sentence) == (1, True)


def test_two_operators_that_resume_one_replay_queue_everything_once(
    deployment: Deployment, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "PIECE", 1)
    _ran(deployment, *(callback(P + "remind", at) for at in range(4)))
    scripts = Installation(Settings.load({"DEEDBOX_REDIS_URL": redis_server.url})).scripts
    first, second = (replay.Replayer(scripts, deployment.rung.append) for _ in range(2))
    order = ReplayOrder(("crm",), ReplaySpan(0, scripts.redis.time()[0] + 1))
    actions = choose(learned({}), order.actions)
    plan = first.plan(order, actions)
    call: Callable[..., Any] = Scripts.call
    both = [True]

    def interleaved(self: Scripts, name: str, *args: str | bytes | float) -> Any:
        reply = call(self, name, *args)
        if name == "replay" and both:
            both.clear()
            resumed = second.plan(order, actions, number=1)
            resumed.events = 0
            second.carry_out(resumed)
        return reply

    monkeypatch.setattr(Scripts, "call", interleaved)
    with pytest.raises(Exception, match="finished or forgotten meanwhile"):
        first.carry_out(plan)
    monkeypatch.undo()
    deployment.run()

    assert [event.time - CREATED_AT for event, _ in replayed.crm.calls] == [0, 1, 2, 3]


def test_the_actions_are_learned_from_the_workers_own_settings(
    operate: Operate, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    _ran(deployment, sent())
    answer = operate(
        "replay", "r1", "--action", "crm", "--yes", DEEDBOX_ACTIONS="tests.component.ops.replayed"
    )
    deployment.run()
    assert answer.code == 0
    assert len(replayed.crm.calls) == 1
