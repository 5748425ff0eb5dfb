"""A stop ends the programs in order: what receives, what works, the store."""

from __future__ import annotations

import signal
import subprocess
import time

import pytest

from tests.component.supervision.conftest import Start
from tests.component.supervision.rig import Rig, until

pytestmark = [pytest.mark.e2e, pytest.mark.real_redis]


def _working(start: Start) -> Rig:
    rig = start(
        {"name": "web", "priority": 90, "words": ["--last-words", "0.3"]},
        {"name": "worker", "priority": 50, "words": ["--last-words", "0.3", "--redis", "REDIS"]},
        {"name": "bridge", "priority": 50, "words": ["--redis", "REDIS"]},
        redis=True,
    )
    rig.started("web", "worker", "bridge")
    rig.started_redis()
    return rig


@pytest.mark.parametrize("how", ["SIGTERM", "Ctrl-C", "SIGHUP"])
def test_a_stop_ends_redis_last_and_lets_the_workers_finish(start: Start, how: str) -> None:
    rig = _working(start)
    children = rig.children()

    if how == "Ctrl-C":
        rig.interrupt()
    else:
        rig.process.send_signal(signal.Signals[how])

    assert rig.wait() == 0
    notes = rig.notes()
    assert notes[3] == "web ended"
    assert {"worker wrote", "worker ended", "bridge wrote", "bridge ended"} == set(notes[4:])
    assert not any(child.is_running() for child in children)


def test_a_second_ctrl_c_kills_what_does_not_end(start: Start) -> None:
    rig = start({"name": "deaf", "words": ["--deaf"], "stop_wait_s": 600})
    rig.started("deaf")
    deaf = rig.children()[0]
    rig.interrupt()

    def again() -> bool:
        time.sleep(0.3)
        if deaf.is_running():
            rig.interrupt()
        return not deaf.is_running()

    until(again, "it is killed")
    assert rig.wait() == 0
    assert rig.notes() == ["deaf started"]


def test_a_program_that_can_not_be_started_does_not_delay_the_stop(start: Start) -> None:
    rig = start({"name": "broken", "command": ["/nowhere/to-be-found"]}, output=subprocess.PIPE)
    assert rig.process.stdout is not None
    for line in rig.process.stdout:
        if line.startswith(b"exit broken exited with status 127"):
            break
    rig.process.terminate()
    assert rig.wait() == 0
    rig.process.stdout.close()


def test_a_closed_pipe_ends_everything_instead_of_failing_again_and_again(start: Start) -> None:
    rig = start({"name": "one"}, output=subprocess.PIPE)
    rig.started("one")
    assert rig.process.stdout is not None
    while rig.process.stdout.readline() != b"one says nothing\n":
        pass
    rig.process.stdout.close()
    assert rig.wait() == 0
    assert rig.notes() == ["one started", "one ended"]


def test_a_failing_callback_stops_everything_and_is_raised(start: Start) -> None:
    rig = start({"name": "one"}, fail=True, output=subprocess.PIPE)
    output, _none = rig.process.communicate(timeout=20)
    assert rig.process.returncode == 1
    assert b"RuntimeError: on_started failed" in output
