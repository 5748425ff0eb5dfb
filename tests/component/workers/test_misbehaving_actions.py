"""Actions as people have met them, on a real worker: each ends as its own failure, and the same process goes on."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest
from redis import Redis

from deedbox.shared.redis import keys
from tests.component.workers.fleet import Fleet
from tests.component.workers.rig import Deployment, Journal, action, message, sent, viewed
from tests.component.workers.server import RedisServer, until

pytestmark = pytest.mark.real_redis

MODULE: Final = """
import os, subprocess, sys, threading
from pathlib import Path
from deedbox import Retry, action

FOLDER = Path(os.environ["FLEET_FOLDER"])

def note(what, event, context):
    line = f"{what} {event.signature_request_id} {event.type} {context.idempotency_key} {os.getpid()}\\n"
    with (FOLDER / "journal").open("a") as journal:
        journal.write(line)

class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError("no text")

class Unpicklable(Exception):
    def __init__(self, first, second):
        super().__init__(first)
        self.lock = threading.Lock()

@action("*", name="act", attempts=1)
def act(event, context):
    note("began", event, context)
    match event.signature_request_id:
        case "unprintable":
            raise Unprintable
        case "unicode":
            raise ValueError("\\U0001f600 half \\ud800 nul \\x00 \\u202e")
        case "exit":
            sys.exit(3)
        case "interrupt":
            raise KeyboardInterrupt
        case "unpicklable":
            raise Unpicklable("one", "two")
        case "mutate":
            event.payload["signature_request"]["title"] = "changed"
        case "child":
            child = subprocess.Popen(["sleep", "60"])
            (FOLDER / "child").write_text(str(child.pid))
        case "retry" if context.retries < 3:
            raise Retry("", after=0)
    note("ended", event, context)

@action("*", name="look", attempts=1)
def look(event, context):
    if event.payload["signature_request"].get("title") != "Lease":
        raise ValueError("another action's change is seen")
    note("looked", event, context)
"""

FAILS: Final = {
    "unprintable": b"Unprintable", "unicode": b"ValueError", "exit": b"SystemExit", "interrupt": b"KeyboardInterrupt",
    "unpicklable": b"Unpicklable",
}  # fmt: skip
"""Request, and what its dead letter names."""

WORKS: Final = ("mutate", "child", "retry")


@pytest.fixture
def misbehaving(redis_server: RedisServer, state: Redis, tmp_path: Path) -> Iterator[Fleet]:
    assert state.dbsize() == 0
    fleet = Fleet(redis_server, tmp_path, module=MODULE)
    yield fleet
    fleet.close()
    with suppress(OSError, ValueError):
        os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)


def test_what_an_action_does_wrong_is_its_own_failure_and_its_process_goes_on(
    misbehaving: Fleet, state: Redis
) -> None:
    deployment = Deployment(state, *(action(Journal(), name=name) for name in ("act", "look")))
    worker = misbehaving.worker()
    misbehaving.start("sweeper")
    deployment.deliver(*(sent(request_id=each, title="Lease") for each in (*FAILS, *WORKS)))
    deployment.drain()
    for each in WORKS:
        misbehaving.ended(each)
    until(lambda: len(deployment.letters()) == len(FAILS), "each is a dead letter")
    deployment.deliver(sent(request_id="after", title="Lease"))
    deployment.drain()
    [end] = misbehaving.ended("after")
    until(lambda: not deployment.left(), "every outcome is committed")
    assert end.pid == worker.pid
    died = {letter["key"].decode().partition("/")[2]: letter["detail"] for letter in deployment.letters()}
    assert died.keys() == FAILS.keys()
    assert all(died[name].startswith(what) for name, what in FAILS.items()), died
    assert len({note.idempotency_key for note in misbehaving.notes("began", "retry")}) == 1
    assert len(misbehaving.notes("began", "retry")) == 4
    assert len(misbehaving.notes("looked")) == len(FAILS) + len(WORKS) + 1


def test_a_held_event_is_released_in_order_after_a_restart(fleet: Fleet, state: Redis) -> None:
    first = [fleet.worker("sequencer"), fleet.worker(), fleet.start("bridge"), fleet.start("sweeper")]
    state.lpush(keys.RAW_QUEUE, message(viewed(5)))
    until(lambda: state.zcard(keys.HELD) == 1, "it is held")
    for process in first:
        process.send_signal(signal.SIGTERM)
    for process in first:
        assert process.wait(20) in {0, -signal.SIGTERM}, "it may not have listened yet"
    for words in (
        ("worker", "--lane", "sequencer"),
        ("worker", "--lane", "default"),
        ("bridge",),
        ("sweeper",),
    ):
        fleet.start(*words)
    state.lpush(keys.RAW_QUEUE, message(sent()))
    until(lambda: len(fleet.notes("ended", "r1")) == 2, fleet.log())
    assert [note.event_type.rpartition("_")[2] for note in fleet.notes("began", "r1")] == ["sent", "viewed"]
    assert state.zcard(keys.HELD) == 0
