"""Running actions: order, failures and waits, each per ordering key and action."""

from __future__ import annotations

import io
import json
import logging
import time
from collections.abc import Iterator

import pytest
from redis import Redis

from deedbox.shared.core.ordering import OrderingPolicy
from deedbox.shared.records.stored_event import BODY
from deedbox.shared.redis import keys
from deedbox.shared.retention import Retention
from deedbox.shared.runtime import logs
from deedbox.workers.actions.interface import Context, Event, Retry
from tests.component.workers.rig import (
    CREATED_AT,
    Deployment,
    Failing,
    Journal,
    P,
    action,
    callback,
    sent,
    units,
    viewed,
)

pytestmark = pytest.mark.real_redis


def test_one_key_and_action_is_served_in_release_order_one_by_one(state: Redis) -> None:
    journal = Journal()
    deployment = Deployment(state, action(journal))
    deployment.deliver(*(callback("e", number) for number in range(100)))
    deployment.run()
    assert [event.time - CREATED_AT for event, _ in journal.calls] == list(range(100))


def test_an_unordered_action_waits_for_no_other_event_of_its_key(state: Redis) -> None:
    failing = Failing(RuntimeError("down"), "sent")
    deployment = Deployment(state, action(failing, ordered=False), jitter=lambda: 1.0)
    deployment.deliver(sent(), viewed(1))
    deployment.run()
    assert sorted(failing.types()) == ["sent", "viewed"]
    assert deployment.waiting() == 1


def test_events_without_a_subject_wait_for_no_other_of_their_type(state: Redis) -> None:
    """A product of the vendor that is not known yet: nothing in its callbacks says what they are about."""
    failing = Failing(Retry("its own system is down", after=3600))
    deployment = Deployment(state, action(failing))
    bodies = [json.dumps({"event": {"event_type": "sms_thing_done", "event_time": str(CREATED_AT + number),
                                    "event_hash": "0" * 64}}).encode() for number in range(3)]  # fmt: skip
    deployment.deliver(*bodies)
    deployment.run()
    assert sorted(event.time - CREATED_AT for event, _ in failing.calls) == [0, 1, 2]
    assert deployment.waiting() == 3


@pytest.mark.parametrize("held", [False, True])
def test_an_event_waits_for_its_first_call_longer_than_events_are_kept(state: Redis, *, held: bool) -> None:
    """A lane whose workers never started; a sequencer that was down while an event was held. One day is one second."""
    journal = Journal()
    deployment = Deployment(
        state, action(journal), retention=Retention(1, 1), order=OrderingPolicy(hold_s=1 if held else 0)
    )
    deployment.deliver(viewed(1), *([] if held else [sent()]))
    deployment.drain()
    time.sleep(1.3)
    deployment.sweeper.once()
    deployment.run()
    assert (journal.types()[-1], deployment.letters()) == ("viewed", [])


def test_events_behind_a_patient_head_live_as_long_as_they_wait(state: Redis) -> None:
    """Each in its turn says Retry until its action gives up: together that is longer than events are kept."""
    patient = Failing(Retry("crm away", after=0.1))
    deployment = Deployment(state, action(patient, give_up_s=0.4), retention=Retention(1, 1))
    deployment.deliver(*(callback("e", number) for number in range(5)))
    deployment.run_until(lambda: deployment.left() == 0, "every event had its turn")
    assert deployment.reasons() == ["retry_expired"] * 5
    assert {event.time - CREATED_AT for event, _ in patient.calls} == set(range(5))


def test_an_action_is_told_that_an_event_is_late(state: Redis) -> None:
    journal = Journal()
    deployment = Deployment(state, action(journal))
    deployment.deliver(callback("e", 5))
    deployment.drain()
    deployment.deliver(callback("e", 3))
    deployment.run()
    assert [(event.time - CREATED_AT, event.late) for event, _ in journal.calls] == [(5, False), (3, True)]


def test_an_event_shows_what_arrived(state: Redis) -> None:
    journal = Journal()
    deployment = Deployment(state, action(journal))
    deployment.deliver(viewed(7, request_id="a1", test_mode=True), received_at=123.5)
    deployment.deliver(sent(request_id="a1"), received_at=124.5)
    deployment.run()
    event = journal.calls[-1][0]
    assert (event.type, event.time, event.received_at) == (P + "viewed", CREATED_AT + 7, 123.5)
    assert (event.source, event.ordering_key, event.signature_request_id) == (
        "default",
        "signature_request/a1",
        "a1",
    )
    assert (event.related_signature_id, event.test_mode, event.body_signature) == ("s1", True, "valid")
    assert event.payload["signature_request"]["test_mode"] is True


def test_an_internal_event_reaches_the_actions_of_its_key_once(state: Redis) -> None:
    def emitting(_event: Event, context: Context) -> None:
        context.emit("deedbox.thing", {"n": 1})

    exact, prefix, star = Journal(), Journal(), Journal()
    deployment = Deployment(
        state, action(emitting, P + "*", name="emitting"), action(exact, "deedbox.thing", name="exact"),
        action(prefix, "deedbox.*", name="prefix", lane="crm"), action(star, name="star"),
    )  # fmt: skip
    deployment.deliver(sent(), viewed(1))
    deployment.run()
    for journal in (exact, prefix):
        [(event, _)] = journal.calls
        assert (event.type, event.ordering_key, event.payload) == (
            "deedbox.thing",
            "signature_request/r1",
            {"n": 1},
        )
    assert star.types() == ["sent", "viewed"]


def test_an_action_that_this_process_lacks_is_left_for_one_that_has_it(state: Redis) -> None:
    """A rolling deploy: the old worker knows nothing of the new action."""
    journal = Journal()
    new = Deployment(state, action(journal, name="new"), action(Journal(), name="old"))
    new.deliver(sent())
    new.drain()
    old = Deployment(state, action(Journal(), name="old"))
    old.work()
    assert (units(state, "ready"), old.letters()) == ([b"new|default:signature_request/r1"], [])
    new.work()
    assert journal.types() == ["sent"]


def test_what_waits_for_an_action_that_moved_to_another_lane_is_worked_off_there(state: Redis) -> None:
    """No process serves the old lane any more: nothing names it, so none would even start."""
    old = Deployment(state, action(Journal(), lane="old"))
    old.deliver(sent())
    old.drain()
    journal = Journal()
    new = Deployment(state, action(journal, lane="new"))
    new.sweeper.once()
    new.work()
    assert journal.types() == ["sent"]


@pytest.mark.parametrize("damage", ["gone", "unreadable"])
def test_an_entry_whose_event_is_lost_is_a_dead_letter(state: Redis, damage: str) -> None:
    journal = Journal()
    deployment = Deployment(state, action(journal))
    deployment.deliver(sent(), viewed(1))
    deployment.drain()
    key = keys.event(deployment.timeline()[0]["event"])
    state.delete(key) if damage == "gone" else state.hset(key, BODY, b"{")
    deployment.work()
    assert deployment.reasons() == ["event_missing"]
    assert journal.types() == ["viewed"]


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """Log as a process does, into memory."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    stream = io.StringIO()
    logs.configure("json", "worker", stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_call_is_one_line_without_payload_or_error_text(state: Redis, logged: io.StringIO) -> None:
    deployment = Deployment(state, action(Failing(ValueError("Jane Doe"), "sent"), attempts=1))
    deployment.deliver(sent(title="Jane Doe"), viewed(1))
    deployment.run()
    lines = [json.loads(line) for line in logged.getvalue().splitlines()]
    calls = [line for line in lines if line["event"] == "action.finished"]
    assert [line["outcome"] for line in calls] == ["dead", "done"]
    assert {line["key"] for line in calls} == {"signature_request/r1"}
    assert "Jane Doe" not in logged.getvalue()


def test_calls_of_a_busy_request_are_told_together_and_none_before_its_commit(
    state: Redis, logged: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment = Deployment(state, action(Journal()))
    deployment.deliver(sent(), *(viewed(at_s) for at_s in range(1, 64)))
    deployment.drain()
    logged.truncate(logged.seek(0))
    told: list[int] = []

    def write(text: str) -> int:
        told.append(text.count("action.finished"))
        assert sum(told) <= deployment.counters()["action_done"]
        return len(text)

    monkeypatch.setattr(logged, "write", write)
    deployment.lanes["default"].drain("worker", lambda: True)

    assert sum(told) == deployment.counters()["action_done"] == 64
    assert len(told) < 64
