"""Pauses and limits with real processes: what is paused waits, in order, over restarts; everything else goes on."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from redis import Redis

from deedbox.ops.repair.pausing import Pauser
from deedbox.shared.core.routing import PauseKind
from deedbox.shared.pauses import PauseTarget
from deedbox.shared.redis import keys
from deedbox.shared.redis.doorbells import Bells
from deedbox.shared.redis.scripting import Scripts, text
from tests.component.workers.fleet import Fleet
from tests.component.workers.rig import Deployment, Journal, P, action, callback, sent, viewed
from tests.component.workers.server import RedisServer, until

pytestmark = pytest.mark.real_redis

LONG_S: Final = 60.0

_MODULE = """
import os, time
from pathlib import Path
from deedbox.workers.actions import action

FOLDER = Path(os.environ["FLEET_FOLDER"])

def note(what, name, event, context):
    line = f"{what} {event.source}.{event.signature_request_id}.{name} {event.type} {context.idempotency_key} {os.getpid()}\\n"
    with (FOLDER / "journal").open("a") as journal:
        journal.write(line)

def noted(name):
    def run(event, context):
        note("began", name, event, context)
        while (FOLDER / f"hold-{event.source}.{event.signature_request_id}.{name}").exists():
            time.sleep(0.02)
        note("ended", name, event, context)
    return run

act = action("*", name="act")(noted("act"))
beside = action("*", name="beside")(noted("beside"))
few = action("few", name="few", concurrency=2, rate="100/h")(noted("few"))
"""


@pytest.fixture
def busy(redis_server: RedisServer, state: Redis, tmp_path: Path) -> Iterator[Fleet]:
    """Lend a sweeper and two workers of one lane."""
    assert state.dbsize() == 0
    with Fleet(redis_server, tmp_path, module=_MODULE).running() as fleet:
        fleet.worker()
        fleet.worker()
        fleet.start("sweeper")
        yield fleet


def _feed(state: Redis) -> Deployment:
    names = ("act", "beside")
    few = action(Journal(), "few", name="few", concurrency=2)
    deployment = Deployment(state, *(action(Journal(), name=name) for name in names), few)
    deployment.sequencer._ring = Bells(state).ring
    return deployment


def _send(deployment: Deployment, *bodies: bytes, source: str = "default") -> None:
    deployment.deliver(*bodies, source=source)
    deployment.drain()


def _types(fleet: Fleet, what: str, name: str) -> list[str]:
    return [each.event_type.removeprefix(P) for each in fleet.notes(what, name)]


@pytest.mark.parametrize(
    ("target", "waits", "goes_on"),
    [
        (PauseTarget(PauseKind.ACTION, "act"), "default.r1.act", ("default.r1.beside", "sales.r1.beside")),
        (
            PauseTarget(PauseKind.REQUEST, "default:signature_request/r1"),
            "default.r1.act",
            ("default.r2.act", "sales.r1.act"),
        ),
    ],
)
def test_what_is_paused_waits_in_order_over_restarts_and_everything_else_goes_on(
    busy: Fleet, state: Redis, target: PauseTarget, waits: str, goes_on: tuple[str, ...]
) -> None:
    """The call that runs when the pause comes ends as usual; the next one of its queue does not begin."""
    deployment = _feed(state)
    pauser = Pauser(Scripts(state))
    busy.hold(waits)
    _send(deployment, sent())
    busy.began(waits)
    pauser.pause(target, by="test")
    busy.let_go(waits)
    busy.ended(waits)

    _send(deployment, viewed(1), viewed(2), sent(0, "r2"))
    _send(deployment, sent(), sent(0, "r2"), source="sales")
    for name in goes_on:
        busy.ended(name)
    old = busy.started("worker", "--lane", "default")
    old.send_signal(signal.SIGTERM)
    old.wait(LONG_S)
    new = busy.worker()
    _send(deployment, sent(0, "r3"), source="sales")
    busy.ended(f"sales.r3.{goes_on[0].rpartition('.')[2]}")
    assert (_types(busy, "began", waits), new.poll()) == (["sent"], None)
    if target.kind is not PauseKind.ACTION:
        until(lambda: state.zcard(keys.action("act", "parked")) > 0, "its units are parked")
    entry = state.lindex(keys.queue("act|default:signature_request/r1"), 0)
    assert entry is not None
    assert state.ttl(keys.event(text(entry)[:32])) == -1, "what waits keeps its event"

    pauser.resume(target)

    until(lambda: deployment.left() == 0, f"everything is worked off\n{busy.log()}")
    assert _types(busy, "ended", waits) == ["sent", "viewed", "viewed"]
    assert state.zcard(keys.DEAD) == 0
    keyed = [each.idempotency_key for each in busy.notes("began")]
    assert len(keyed) == len(set(keyed)), "no call began twice"


def test_an_action_has_no_more_calls_at_a_time_than_it_may_and_others_are_not_delayed(
    busy: Fleet, state: Redis
) -> None:
    """Three workers, of which the limited action may have two: the third is free for the other actions."""
    busy.worker()
    deployment = _feed(state)
    names = [f"default.r{number}" for number in range(4)]
    for name in names:
        busy.hold(f"{name}.few")
    _send(deployment, *(callback("few", 0, name.rpartition(".")[2]) for name in names))
    until(
        lambda: len(busy.notes("began")) >= 2 + 2 * len(names),
        f"all but the limited calls began\n{busy.log()}",
    )
    for name in names:
        busy.ended(f"{name}.act")
        busy.ended(f"{name}.beside")
    running = [each for each in busy.notes("began") if each.request_id.endswith(".few")]
    assert len(running) == 2

    for name in names:
        busy.let_go(f"{name}.few")

    until(lambda: deployment.left() == 0, f"everything is worked off\n{busy.log()}")
    assert sorted(each.request_id for each in busy.notes("ended") if each.request_id.endswith(".few")) == [
        f"{name}.few" for name in names
    ]
    assert state.llen(keys.action("few", "calls")) == 4
