"""Replay, redrive and ``conflict apply`` beside an erasure: what was erased stays erased, and the operator learns it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from deedbox.ops.repair import catalog, replay
from deedbox.shared.core.callback import REMOVED
from deedbox.shared.core.identity import shard_of
from deedbox.shared.redis import inbox, keys
from deedbox.shared.redis.scripting import SERVER_CLOCK, Scripts
from deedbox.workers.actions.interface import Context, Event, Reject
from deedbox.workers.actions.loading import collect
from deedbox.workers.actions.registry import Registry
from deedbox.workers.bridge import bridge
from tests.component.conftest import Operate
from tests.component.ops import replayed
from tests.component.workers.keyspace import traces
from tests.component.workers.rig import (
    Deployment,
    Journal,
    P,
    action,
    callback,
    depth,
    expire_units,
    message,
    sent,
    viewed,
)
from tests.component.workers.test_erasure import R1, erase
from tests.support.stored import event_at

pytestmark = pytest.mark.real_redis

TOMBSTONE = {keys.erased(R1.stream)}


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Know the actions without asking a process."""
    rows = Registry(collect(replayed)).describe()
    monkeypatch.setattr(catalog, "described", lambda _environ: {"actions": rows})
    for journal in replayed.JOURNALS:
        journal.calls.clear()


@pytest.fixture
def deployment(state: Redis) -> Deployment:
    return Deployment(state, *collect(replayed))


def _begin_to_erase(scripts: Scripts) -> None:
    """Set the tombstone, as an erasure does first."""
    scripts.call("erase", SERVER_CLOCK, R1.stream, shard_of(R1.stream), 999, "operator", 0)


def _just_before(monkeypatch: pytest.MonkeyPatch, script: str, happening: Callable[[], object]) -> None:
    """Let something happen between a command's look and its first call of a script."""
    call: Callable[..., Any] = Scripts.call
    waiting = [happening]

    def interleaved(self: Scripts, name: str, *args: str | bytes | float) -> Any:
        if name == script and waiting:
            waiting.pop()()
        return call(self, name, *args)

    monkeypatch.setattr(Scripts, "call", interleaved)


class Killed(BaseException):
    """The operator's process is gone."""


def _die_at(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Interrupt a replay at its n-th append."""
    call: Callable[..., Any] = Scripts.call
    made = [0]

    def deadly(self: Scripts, name: str, *args: str | bytes | float) -> Any:
        made[0] += name == "replay"
        if name == "replay" and made[0] == number:
            raise Killed
        return call(self, name, *args)

    monkeypatch.setattr(Scripts, "call", deadly)


def test_an_erased_request_is_not_replayed(
    operate: Operate, state: Redis, deployment: Deployment, tmp_path: Path
) -> None:
    deployment.deliver(sent())
    deployment.run()
    erase(state, tmp_path)

    answer = operate("replay", "r1", "--action", "crm", "--yes")

    assert answer.code == 0
    assert "1 request that was erased" in answer.out
    assert operate("replay", "r1", "--action", "crm", "--yes", "--json").document["plan"]["erased"] == 1
    assert traces(state, "r1") == TOMBSTONE
    assert deployment.left() == 0


def test_an_erasure_between_the_plan_and_its_replay_is_not_undone(
    operate: Operate, state: Redis, deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.deliver(sent(0, "r1"), sent(0, "r2"))
    deployment.run()
    replayed.crm.calls.clear()
    _just_before(monkeypatch, "replay", lambda: erase(state, tmp_path))

    answer = operate("replay", "--since", "1h", "--action", "crm", "--yes")
    deployment.run()

    assert "Queued 1 call" in answer.out
    assert "Erased meanwhile: 1 request" in answer.out
    assert [event.signature_request_id for event, _ in replayed.crm.calls] == ["r2"]
    assert traces(state, "r1") == TOMBSTONE


def test_an_erasure_takes_what_a_replay_has_queued_and_where_it_stopped(
    operate: Operate, state: Redis, deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "PIECE", 1)
    deployment.deliver(*(callback(P + "remind", at, name) for name in ("r1", "r2") for at in range(3)))
    deployment.run()
    with monkeypatch.context() as patched:
        _die_at(patched, 6)  # both streams are begun
        with pytest.raises(Killed):
            operate("replay", "--since", "1h", "--action", "crm", "--action", "loose", "--yes")
    for journal in replayed.JOURNALS:
        journal.calls.clear()
    assert {keys.replay_done(1), keys.queue("crm|" + R1.stream)} <= traces(state, "r1")

    erase(state, tmp_path)
    assert traces(state, "r1") == TOMBSTONE
    assert operate("replay", "--resume", "1", "--yes").code == 0
    deployment.run()

    assert traces(state, "r1") == TOMBSTONE
    for journal in (replayed.crm, replayed.loose):
        assert [event.signature_request_id for event, _ in journal.calls] == ["r2"] * 3
    assert depth(state) == 0


def test_an_interrupted_replay_of_an_erased_request_is_forgotten(
    operate: Operate, state: Redis, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.deliver(sent())
    deployment.run()
    with monkeypatch.context() as patched:
        _die_at(patched, 1)
        with pytest.raises(Killed):
            operate("replay", "r1", "--action", "crm", "--yes")
    for kind in (keys.seen, keys.order, keys.timeline):  # time passes
        state.delete(kind(R1.stream))

    assert operate("erase", "r1", "--yes").code == 0, "the order alone is found"

    assert not state.exists(keys.replay(1))
    assert "There is no interrupted replay 1" in operate("replay", "--resume", "1", "--yes").sentence


def _reject(_event: Event, _context: Context) -> None:
    raise Reject("no")


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_letter_of_an_erased_request_does_not_go_back(
    operate: Operate, state: Redis, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    deployment = Deployment(state, action(_reject, name="crm"))
    deployment.deliver(sent())
    deployment.run()
    [letter] = deployment.letters()
    if when == "before":
        _begin_to_erase(deployment.scripts)
    else:
        _just_before(monkeypatch, "redrive", lambda: _begin_to_erase(deployment.scripts))

    answer = operate("dead", "redrive", "1", "--yes")

    assert answer.code == 1
    assert "its request was erased" in answer.out
    assert deployment.left() == 0
    assert deployment.letters() == [letter]


@pytest.mark.parametrize("readable", [True, False])
def test_a_message_of_an_erased_request_does_not_go_back_if_it_can_be_read(
    operate: Operate, state: Redis, *, readable: bool
) -> None:
    """One that nobody can read goes back to the bridge, and ends at the tombstone if the bridge can read it."""
    raw = message(sent()) if readable else message(sent()).replace(b'"deedbox":[1,', b'"deedbox":[9,')
    load = inbox.Load(quarantined=[(raw, "?")])
    inbox.append(Scripts(state), load)
    _begin_to_erase(Scripts(state))

    answer = operate("dead", "redrive", "1", "--yes")

    assert ("its request was erased" in answer.out) == readable
    assert state.llen(keys.REDRIVE) == (0 if readable else 1)
    assert state.zcard(keys.DEAD) == (1 if readable else 0)


def test_an_erasure_that_gave_up_can_be_sent_back_to_reach_its_end(operate: Operate, state: Redis) -> None:
    deployment = Deployment(state, action(_reject, name="erase_destroyed"))
    deployment.deliver(sent())
    deployment.drain()
    _begin_to_erase(deployment.scripts)
    deployment.work()
    assert deployment.reasons() == ["rejected"]

    assert operate("dead", "redrive", "1", "--yes").code == 0

    assert deployment.letters() == []
    assert deployment.left() == 1


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_conflict_of_an_erased_request_is_not_applied(
    operate: Operate, state: Redis, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    journal = Journal()
    deployment = Deployment(state, action(journal))
    deployment.deliver(sent(title="one"), sent(title="two"))
    deployment.run()
    [row] = operate("conflict", "list", "r1", "--json").document["conflicts"]
    if when == "before":
        _begin_to_erase(deployment.scripts)
        assert "was erased" in operate("conflict", "list", "r1").sentence
    else:
        _just_before(monkeypatch, "redrive_raw", lambda: _begin_to_erase(deployment.scripts))

    answer = operate("conflict", "apply", "r1", row["body"], "--yes")

    assert answer.code == 1
    assert "was erased" in answer.sentence
    assert state.llen(keys.REDRIVE) == 0


def test_another_body_of_a_fact_is_no_event_to_replay_until_it_is_applied(
    operate: Operate, deployment: Deployment
) -> None:
    deployment.deliver(sent(title="one"), sent(title="two"))
    deployment.run()

    def planned() -> tuple[int, int]:
        plan = operate("replay", "r1", "--action", "crm", "--dry-run", "--json").document["plan"]
        return plan["events"], plan["expired"]

    assert planned() == (1, 0)
    [row] = operate("conflict", "list", "r1", "--json").document["conflicts"]
    operate("conflict", "apply", "r1", row["body"], "--yes")
    bridge.redrive(deployment.scripts, deployment.rung.append)
    deployment.run()
    assert planned() == (2, 0)
    replayed.crm.calls.clear()
    operate("replay", "r1", "--action", "crm", "--yes")
    deployment.run()
    titles = [event.payload["signature_request"]["title"] for event, _ in replayed.crm.calls]
    assert sorted(titles) == ["one", "two"]


def test_the_memory_of_a_stream_lives_as_long_as_what_was_replayed(
    operate: Operate, state: Redis, deployment: Deployment
) -> None:
    """An erasure finds events in it."""
    deployment.deliver(sent(), viewed(3))
    deployment.run()
    state.expire(keys.seen(R1.stream), 60)
    operate("replay", "r1", "--action", "crm", "--yes")
    assert int(state.ttl(keys.seen(R1.stream))) >= max(
        int(state.ttl(name)) for name in state.scan_iter(keys.event("*"))
    )


def _lose_a_worker(deployment: Deployment, running: str = "journal") -> None:
    deployment.scripts.call("claim_entries", SERVER_CLOCK, "default", "dying", 10, 2, 1, 1 << 20, running)
    expire_units(deployment.redis, "leased")
    deployment.sweeper.once()


def test_a_lost_worker_leaves_nothing_about_an_erased_request(state: Redis, tmp_path: Path) -> None:
    deployment = Deployment(state, action(Journal()))
    deployment.deliver(sent())
    deployment.drain()
    _lose_a_worker(deployment)
    assert deployment.timeline()[-1]["outcome"] == "lost"

    _begin_to_erase(deployment.scripts)
    _lose_a_worker(deployment)

    assert (deployment.letters(), deployment.left()) == ([], 0)
    assert depth(state) == 0
    erase(state, tmp_path)
    assert traces(state, "r1") == TOMBSTONE


def test_an_erasure_whose_process_is_lost_again_and_again_is_told(state: Redis) -> None:
    deployment = Deployment(state, action(Journal(), name="erase_destroyed"))
    deployment.deliver(sent())
    deployment.drain()
    _begin_to_erase(deployment.scripts)
    lines = len(deployment.timeline())
    for _ in range(8):
        _lose_a_worker(deployment, "erase_destroyed")
    assert deployment.reasons() == ["worker_lost"]
    assert len(deployment.timeline()) == lines


def test_a_body_is_shown_but_for_its_hash_wherever_it_is_kept(operate: Operate, state: Redis) -> None:
    deployment = Deployment(state, action(_reject, name="crm"))
    body = sent(title="Lease 7/12")
    deployment.deliver(body)
    deployment.run()
    inbox.append(deployment.scripts, inbox.Load(quarantined=[(message(body), "?"), (b"junk", "?")]))
    shown = [operate("dead", "show", str(number), "--raw", "--json").document["raw"] for number in (1, 2, 3)]
    assert [json.loads(text) for text in shown[:2]] == [json.loads(body.replace(b"0" * 64, REMOVED))] * 2
    assert shown[2] == "junk"
    assert event_at(state, keys.event(deployment.timeline()[0]["event"])).codec, "it is stored compressed"
