"""``track_status`` in a lane: read models are read and committed by the batch, and meet other writers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from deedbox.shared.redis import keys
from deedbox.shared.retention import Retention
from deedbox.workers.actions.interface import Context, Event, Retry, change_model, model_of
from deedbox.workers.actions.registry import RegisteredAction
from deedbox.workers.builtins import read_model, track_status
from tests.component.workers.rig import (
    CREATED_AT,
    Deployment,
    Journal,
    P,
    action,
    callback,
    sent,
    stored_model,
    units,
    viewed,
)

pytestmark = pytest.mark.real_redis

STREAM = "default:signature_request/r1"
SHOWN = {"title": "Lease", "created_at": CREATED_AT, "is_complete": True}


def counting(fail: Callable[[str], BaseException | None] = lambda _: None) -> RegisteredAction:
    """Return an action that lists its events in the model."""

    def count(event: Event, context: Context) -> None:
        kind = event.type.removeprefix(P)
        error = fail(kind)
        if error is not None:
            raise error
        model = model_of(context)
        change_model(context, {**model, "listed": [*model.get("listed", []), kind]}, {})

    return RegisteredAction("counting", (P + "*",), count, keeps_model=True)


def commands(state: Redis, *names: str) -> int:
    stats: Any = state.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in names)


def many(count: int) -> list[bytes]:
    return [sent(), *(viewed(at) for at in range(1, count))]


def worked(state: Redis, deployment: Deployment, bodies: list[bytes]) -> int:
    """Work some callbacks off in one go. Returns the commands that the lane sent."""
    deployment.deliver(*bodies)
    deployment.drain()
    state.config_resetstat()
    deployment.lanes["default"].drain("worker", lambda: True)
    assert deployment.left() == 0
    return commands(state, "evalsha", "mget")


@pytest.mark.parametrize("requests", [1, 100])
def test_a_batch_of_events_costs_as_many_commands_as_its_commits(state: Redis, requests: int) -> None:
    """Law: no command for each event, be they of one request or of many."""
    bodies = [sent(request_id=f"r{number}") for number in range(requests)] if requests > 1 else many(100)
    deployment = Deployment(state, track_status.registered())
    assert worked(state, deployment, bodies) < 50
    assert deployment.counters()["action_done"] == len(bodies)
    assert stored_model(state, STREAM)["state"] == ("viewed" if requests == 1 else "sent")


def test_what_the_api_said_meanwhile_is_not_overwritten_and_the_calls_are_made_again(
    state: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment = Deployment(state, track_status.registered())
    deployment.deliver(sent(title="Lease"), viewed(5, title="Lease"), sent(request_id="r2"))
    deployment.drain()
    mget = state.mget

    def slow(names: list[str]) -> Any:
        values = mget(names)
        monkeypatch.setattr(state, "mget", mget)
        read_model.confirm(deployment.scripts, STREAM, SHOWN, CREATED_AT + 9, Retention())
        return values

    deployment.lanes["default"]._size = 8  # so that both events of the request are in one batch
    monkeypatch.setattr(state, "mget", slow)
    deployment.work()
    model = stored_model(state, STREAM)
    assert set(model["levels"]) == {"attested", "confirmed"}
    assert (model["state"], model["complete"]) == ("all_signed", True)
    done = [line["event"] for line in deployment.timeline() if line["kind"] == "action"]
    assert len(done) == len(set(done)) == 2, "each outcome counts once"
    assert (deployment.counters()["action_done"], deployment.left()) == (3, 0)
    assert units(state, "leased") == units(state, "ready") == []


def test_a_call_that_fails_changes_nothing_and_those_before_it_count(state: Redis) -> None:
    failing = {"viewed": Retry("later", 3600)}
    deployment = Deployment(state, counting(failing.get))
    deployment.deliver(sent(), viewed(5), callback(P + "remind", 6))
    deployment.run()
    assert stored_model(state, STREAM)["listed"] == ["sent"]
    assert deployment.kinds()[-2:] == ["action", "retry"]
    failing.clear()
    state.zadd(keys.action("counting", "waiting"), {units(state, "waiting")[0]: 1})
    deployment.sweeper.once()
    deployment.work()
    assert stored_model(state, STREAM)["listed"] == ["sent", "viewed", "remind"]


def test_a_call_that_uses_up_its_attempts_leaves_the_model_to_the_others(state: Redis) -> None:
    deployment = Deployment(state, counting({"viewed": ValueError("broken")}.get))
    deployment.deliver(sent(), viewed(5), callback(P + "remind", 6))
    deployment.run_until(deployment.letters, "a dead letter")
    deployment.run_until(lambda: deployment.left() == 0, "the rest")
    assert stored_model(state, STREAM)["listed"] == ["sent", "remind"]


def test_other_actions_of_the_lane_still_begin_after_the_commit_of_the_one_before(state: Redis) -> None:
    seen: list[int] = []

    class Looking(Journal):
        def __call__(self, event: Event, context: Context) -> None:
            seen.append(deployment.counters()["action_done"])
            super().__call__(event, context)

    deployment = Deployment(state, action(Looking()))
    deployment.deliver(sent(), viewed(5), viewed(6))
    deployment.drain()
    deployment.lanes["default"]._size = 8
    deployment.work()
    assert seen == [0, 1, 2]


def test_one_busy_request_costs_no_command_more_than_its_other_action(state: Redis) -> None:
    """Law: what only changes the model waits for no commit of another action, and none is made for it."""
    bodies = many(40)
    alone = worked(state, Deployment(state, action(Journal())), bodies)
    state.flushdb()
    both = worked(state, Deployment(state, track_status.registered(), action(Journal())), bodies)
    assert both <= alone + 16
    assert commands(state, "set") < 10, "the model is not written with each of its commits"
    assert stored_model(state, STREAM)["state"] == "viewed"
