"""A Redis that is full to the brim refuses every write that grows it: nothing half-way, nothing lost.

A script is refused as a whole or runs to its end: Redis looks at its memory before a script's first write only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import OutOfMemoryError

from deedbox.shared.core.errors import Unavailable
from deedbox.shared.core.ordering import OrderingPolicy
from deedbox.shared.redis import keys
from tests.component.workers.fleet import Fleet
from tests.component.workers.rig import Deployment, Journal, action, expire, message, sent, viewed
from tests.component.workers.server import until
from tests.support.brokers import Claims

pytestmark = pytest.mark.real_redis


@pytest.fixture(autouse=True)
def roomy(state: Redis) -> Iterator[None]:
    """Lift the limit, whatever a test did."""
    yield
    state.config_set("maxmemory", 0)


@contextmanager
def brimful(state: Redis) -> Iterator[None]:
    """Let nothing more fit in, from one command to the next, as if something else had filled the server."""
    state.config_set("maxmemory", 1)
    with pytest.raises(OutOfMemoryError):
        state.set("proof", "x")
    try:
        yield
    finally:
        state.config_set("maxmemory", 0)


def snapshot(state: Redis) -> dict[bytes, Any]:
    """Return everything that the server holds."""
    return {key: state.dump(key) for key in state.scan_iter()}


def _load(state: Redis, count: int) -> None:
    messages = [message(sent(0, f"r{number}")) for number in range(count)]
    messages += [message(viewed(5, f"r{number}")) for number in range(count)]
    state.lpush(keys.RAW_QUEUE, *messages)


def test_every_step_is_refused_as_a_whole_by_a_full_redis_and_succeeds_when_there_is_room(
    state: Redis,
) -> None:
    """The flow goes step by step; before each step the server is filled, and the step tried in vain."""
    journal = Journal()
    deployment = Deployment(state, action(journal), order=OrderingPolicy(hold_s=0))
    bridge = Claims(deployment.scripts)
    _load(state, 5)
    steps: list[tuple[str, Callable[[], object]]] = [
        ("claim", bridge.once),
        ("sequencer", lambda: deployment.sequencer.drain_one("sequencer")),
        ("lane", lambda: deployment.lanes["default"].drain_one("worker")),
    ]
    refused = dict.fromkeys((name for name, _ in steps), 0)
    for _ in range(200):
        for name, step in steps:
            with brimful(state):
                before = snapshot(state)
                try:
                    step()
                except Unavailable:
                    refused[name] += 1
                    if name != "lane":
                        assert snapshot(state) == before
            step()
        if len(journal.calls) >= 10 and deployment.left() == 0:
            break
    assert all(refused.values()), refused
    assert sorted(journal.types("r3")) == ["sent", "viewed"]
    assert len({context.idempotency_key for _, context in journal.calls}) == 10
    assert len(journal.calls) == 10
    assert state.llen(keys.RAW_QUEUE) == 0


def test_a_release_that_a_full_redis_refuses_is_repeated_once_its_lease_is_over(state: Redis) -> None:
    """The worst moment for the sequencer: between its claim and its commit."""
    journal = Journal()
    deployment = Deployment(state, action(journal))
    deployment.scripts.call = FullAt(state, "release").wrap(deployment.scripts.call)  # type: ignore[method-assign]
    deployment.deliver(sent(), viewed(5))
    with pytest.raises(Unavailable):
        deployment.drain()
    assert journal.calls == []
    expire(state, keys.lane("sequencer", "leased"))
    deployment.run_until(lambda: deployment.left() == 0, "it was worked off")
    assert journal.types() == ["sent", "viewed"]


def test_an_outcome_is_committed_even_to_a_full_redis(state: Redis) -> None:
    """It takes more away than it adds, and begins with that: a call that has run must not run again."""
    journal = Journal()
    deployment = Deployment(state, action(journal))
    deployment.scripts.call = FullAt(state, "finish").wrap(deployment.scripts.call)  # type: ignore[method-assign]
    deployment.deliver(sent())
    deployment.run()
    assert (journal.types(), deployment.left()) == (["sent"], 0)
    assert deployment.counters()["action_done"] == 1


class FullAt:
    """Fills the server just before named scripts, once each."""

    def __init__(self, state: Redis, *names: str) -> None:
        self._state = state
        self._names = set(names)

    def wrap(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(name: str, *args: Any) -> Any:
            if name not in self._names:
                return call(name, *args)
            self._names.discard(name)
            with brimful(self._state):
                return call(name, *args)

        return run


def test_real_processes_live_through_a_redis_that_is_full_again_and_again(fleet: Fleet, state: Redis) -> None:
    processes = [fleet.start("bridge"), fleet.worker("sequencer"), fleet.worker(), fleet.start("sweeper")]
    until(lambda: state.exists(keys.LANES), f"the workers are there\n{fleet.log()}")
    for turn in range(4):
        for number in range(50):
            state.lpush(keys.RAW_QUEUE, message(sent(0, f"t{turn}-{number}")))
        time.sleep(0.05 * turn)
        with brimful(state):
            time.sleep(1.5)
    until(lambda: len(fleet.notes("ended")) >= 200, f"all were worked off\n{fleet.log()}")
    assert len({note.request_id for note in fleet.notes("ended")}) == 200
    assert [process.poll() for process in processes] == [None] * 4, fleet.log()
