"""``deedbox demo`` from outside: its report, its exit code, and what is left when it is gone."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from typing import Any

import psutil
import pytest

from tests.e2e.conftest import Start
from tests.e2e.running import Running
from tests.support.waiting import PATIENCE_S

pytestmark = [pytest.mark.e2e, pytest.mark.real_redis]

CONTRACT = {
    "sent", "acked", "refused", "duplicates", "held", "late", "actions", "documents", "order_violations", "lost",
}  # fmt: skip

KINDS = {
    "redis": ("redis-server",),
    "bridge": ("bridge",),
    "sweeper": ("sweeper",),
    "worker-sequencer": ("--lane", "sequencer"),
    "worker-default": ("--lane", "default"),
    "worker-documents": ("--lane", "documents"),
    "web": ("deedbox.ingress",),
}


def _report(demo: Running) -> dict[str, Any]:
    lines = demo.out.splitlines()
    assert len(lines) == 1, demo.err
    report: dict[str, Any] = json.loads(lines[0])
    return report


def _on_disk(demo: Running) -> set[tuple[str, str]]:
    files = (demo.folder / "var" / "demo" / "documents" / "default").glob("*/*.pdf")
    return {(path.parent.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in files}


def test_a_demo_keeps_every_promise_and_says_so(start: Start) -> None:
    demo = start("demo", "--json", "--requests", "50", DEEDBOX_HOLD_S="not a number", DEEDBOX_REDIS_URL="x")
    code = demo.wait(90)
    report = _report(demo)

    assert (code, report["problems"]) == (0, [])
    assert report.keys() >= CONTRACT
    assert (report["lost"], report["order_violations"], report["dispatched_twice"]) == (0, 0, 0)
    assert report["sent"] == report["acked"] + report["refused"]
    assert min(report["refused"], report["duplicates"], report["held"], report["actions"]) > 0
    assert {tuple(row.values()) for row in report["documents"]} == _on_disk(demo)
    assert len(report["documents"]) > 30
    assert "Traceback" not in demo.err


def test_a_demo_whose_processes_are_killed_keeps_every_promise(start: Start) -> None:
    demo = start("demo", "--json", "--requests", "50", "--seed", "7")
    demo.says("Playing Dropbox Sign")
    for words in KINDS.values():
        demo.child(*words).kill()
        time.sleep(0.5)  # in the middle of different things
    code = demo.wait(100)
    report = _report(demo)

    assert (code, report["problems"]) == (0, [])
    assert {name.removesuffix("-0").removesuffix("-1") for name in report["restarts"]} >= KINDS.keys()


WAITING = "Waiting for the last events"


@pytest.mark.parametrize("moment", ["Starting the processes", "Playing Dropbox Sign", WAITING])
def test_ctrl_c_ends_a_demo_tidily(start: Start, moment: str) -> None:
    demo = start("demo", "--json", "--requests", "3", "--seed", "2")
    held = None
    if moment == WAITING:  # for what cannot come meanwhile: it would be over before the signal arrives
        demo.says("Playing Dropbox Sign")
        held = demo.child("sequencer")
        held.suspend()
    demo.says(moment)
    children = demo.children()
    assert children

    demo.interrupt()
    if held is not None:
        time.sleep(0.5)
        held.resume()

    assert demo.wait() == 130
    assert (demo.out, "Traceback" in demo.err) == ("", False)
    # The process beside a worker notices within a second that the worker has ended, and init takes its status.
    assert psutil.wait_procs(children, timeout=PATIENCE_S)[1] == []


def test_a_second_demo_in_the_same_directory_is_refused(start: Start) -> None:
    first = start("demo", "--requests", "1")
    first.says("Starting the processes")
    second = start("demo")

    assert second.wait() == 2
    assert f"in use by process {first.process.pid}" in second.err
    os.kill(first.process.pid, signal.SIGTERM)
    assert first.wait() == 130
