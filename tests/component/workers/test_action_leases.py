"""The lease of a call: renewed while it runs, fenced after it was swept, ended by a process that dies."""

from __future__ import annotations

import time

import pytest
from redis import Redis
from structlog.testing import capture_logs

from deedbox.ops.readmodels.timeline import read
from deedbox.ops.repair.deadletters import DeadLetters
from deedbox.shared.redis import keys
from deedbox.shared.redis.scripting import Scripts
from deedbox.workers.actions.interface import Context, Event, Retry
from deedbox.workers.sweeper.sweeper import LOSSES_MAX
from tests.component.workers.rig import (
    TRACE,
    Deployment,
    Failing,
    Journal,
    P,
    action,
    callback,
    depth,
    expire,
    expire_units,
    sent,
    units,
    viewed,
)

pytestmark = pytest.mark.real_redis


def test_an_event_that_takes_its_process_down_is_set_aside_and_blocks_no_other_key(state: Redis) -> None:
    """No outcome is ever committed for it, so no attempt is counted by anybody else."""
    journal = Journal()
    deployment = Deployment(state, action(journal))

    def killed() -> None:
        """Claim the poison as a worker does, which then is gone; its lease runs out."""
        deployment.scripts.call("claim_entries", "", "default", "dying", 10, 2, 1, 1 << 20, "journal")
        expire_units(state, "leased")
        deployment.sweeper.once()

    deployment.deliver(sent(0, "poison"), viewed(1, "poison"))
    deployment.drain()
    for crash in range(LOSSES_MAX):
        assert deployment.letters() == []
        killed()
        if crash == 2:
            deployment.deliver(sent(0, "other"))
            deployment.drain()
            state.zadd(keys.action("journal", "ready"), {"journal|default:signature_request/other": 0})
            assert deployment.lanes["default"].drain_one("worker")  # between two crashes
            assert journal.types("other") == ["sent"]
    deployment.run()

    [letter] = deployment.letters()
    [shown] = DeadLetters(Scripts(state)).newest_first()
    assert (shown.reason, shown.type, shown.key) == (
        "worker_lost",
        "signature_request_sent",
        "signature_request/poison",
    )
    assert shown.trace_id == TRACE, "a script filed it: what it could not read is in the event"
    timeline = read(state, "default", "signature_request/poison")
    assert timeline
    assert {line["type"] for line in timeline.entries} == {
        "signature_request_sent", "signature_request_viewed",
    }  # fmt: skip
    assert deployment.kinds("poison")[-2:] == ["dead", "action"]
    assert journal.types("poison") == ["viewed"]
    assert state.ttl(keys.event(letter["event"].decode())) == -1
    assert depth(state) == 0


def test_a_process_that_dies_now_and_then_costs_no_event_its_life(state: Redis) -> None:
    """Only losses in a row of the same event count."""
    journal = Journal()
    deployment = Deployment(state, action(journal))
    for at in range(LOSSES_MAX + 2):
        deployment.deliver(sent(at))
        deployment.drain()
        deployment.scripts.call("claim_entries", "", "default", "dying", 10, 2, 1, 1 << 20, "journal")
        expire_units(state, "leased")
        deployment.sweeper.once()
        assert deployment.lanes["default"].drain_one("worker")
    assert (len(journal.calls), deployment.letters()) == (LOSSES_MAX + 2, [])


def _lose(deployment: Deployment, state: Redis) -> None:
    """Claim what is ready, as a worker that is then killed; its lease runs out."""
    deployment.scripts.call("claim_entries", "", "default", "host-7-abc", 10, 2, 1, 1 << 20, "journal")
    expire_units(state, "leased")
    deployment.sweeper.once()


def test_an_outcome_ends_the_count_of_losses(state: Redis) -> None:
    """An entry that waits for days meets many restarts: only those in a row are its own fault."""
    waiting = Failing(Retry("not yet", after=0))
    deployment = Deployment(state, action(waiting))
    deployment.deliver(sent())
    deployment.drain()
    for calls in range(1, LOSSES_MAX + 3):
        deployment.run_until(lambda calls=calls: len(waiting.calls) >= calls, "it was called")  # type: ignore[misc]
        for _ in range(LOSSES_MAX - 1):
            expire_units(state, "waiting")
            deployment.sweeper.once()
            _lose(deployment, state)
    assert deployment.letters() == []


def test_a_count_of_losses_leaves_with_its_entry(state: Redis) -> None:
    """However many entries a killed process had, Redis forgets them as soon as they are done."""
    deployment = Deployment(state, action(Journal()))
    deployment.deliver(*(sent(request_id=f"r{number}") for number in range(20)))
    deployment.drain()
    before = set(state.scan_iter(keys.action("*", "*")))
    for _ in range(20):
        _lose(deployment, state)
    deployment.run()
    assert deployment.left() == 0
    assert set(state.scan_iter(keys.action("*", "*"))) <= before


def test_a_loss_says_which_process_and_what_it_had(state: Redis) -> None:
    """In the log, in the timeline, and by a counter."""
    deployment = Deployment(state, action(Journal()))
    deployment.deliver(sent())
    deployment.drain()
    with capture_logs() as lines:
        _lose(deployment, state)
    line = next(line for line in deployment.timeline() if line["kind"] == "retry")
    assert (line["outcome"], line["action"]) == ("lost", "journal")
    assert "host-7-abc" in line["detail"]
    assert "ended without an outcome" in line["detail"]
    [logged] = [line for line in lines if line["event"] == "action.lost"]
    assert logged["lost_process"] == "host-7-abc"
    assert (logged["action"], logged["key"], logged["losses_in_a_row"]) == (
        "journal", "signature_request/r1", 1
    )  # fmt: skip
    assert deployment.counters()["action_lost"] == 1


def test_other_work_starts_while_a_call_takes_long(state: Redis) -> None:
    """Entries of the same claim are given back, and finished ones committed, before the slow call ends."""
    seen_meanwhile: list[tuple[int, int]] = []

    def slow(event: Event, _context: Context) -> None:
        if event.type == "slow":
            time.sleep(0.5)
            ready = len(units(state, "ready"))
            seen_meanwhile.append((int(ready), deployment.counters()["action_done"]))

    deployment = Deployment(state, action(slow))
    deployment.deliver(*(callback("fast", 1, f"x{number}") for number in range(200)))
    deployment.run()
    quick = deployment.counters()["action_done"]
    deployment.deliver(callback("fast", 2, "x0"))
    deployment.drain()
    time.sleep(0.01)
    deployment.deliver(callback("slow", 2, "x1"))
    deployment.drain()
    time.sleep(0.01)
    deployment.deliver(*(callback("fast", 2, f"x{number}") for number in range(2, 12)))
    deployment.run()
    assert seen_meanwhile == [(10, quick + 1)]
    assert deployment.counters()["action_done"] == quick + 12
    assert deployment.left() == 0


def test_a_lease_is_renewed_while_its_call_runs(state: Redis) -> None:
    def slow(_event: Event, _context: Context) -> None:
        leased = keys.action("journal", "leased")
        expire(state, leased, time.time() + 1)  # as after 9 s
        time.sleep(0.4)
        assert state.zcount(leased, time.time() + 5, "+inf") == 1

    deployment = Deployment(state, action(slow, attempts=1))
    deployment.deliver(sent())
    deployment.run()
    assert deployment.letters() == []


def test_a_call_whose_lease_was_swept_commits_nothing(state: Redis) -> None:
    journal = Journal()

    def paused(event: Event, context: Context) -> None:
        journal(event, context)
        if len(journal.calls) == 1:
            expire_units(state, "leased")
            deployment.sweeper.once()
            other.work()

    deployment = Deployment(state, action(paused))
    other = Deployment(state, action(journal))
    deployment.deliver(sent(), viewed(1))
    deployment.run()
    assert journal.types() == ["sent", "sent", "viewed"]
    keys_seen = {context.idempotency_key for event, context in journal.calls if event.type == P + "sent"}
    assert len(keys_seen) == 1
    assert deployment.counters()["action_done"] == 2
    assert depth(state) == 0
