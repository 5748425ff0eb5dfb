"""Kills an action with a ``once`` block at every point of the block: run as ``python -m tests.component.once.kills KIND URL STEP``.

Its own process, because each life is a fork. A point is an event of Python's profiler in the block, in ``once`` itself, or in
the driver that is called from there. Prints one JSON object.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from types import FrameType
from typing import Any

from deedbox.testing import callback, run
from deedbox.workers.actions import once
from deedbox.workers.actions.interface import Context, Event
from tests.component.once.databases import Bills, open_bills

WATCHED = {once.__file__, __file__}
POINTS_MAX = 1_000
MADE = callback("signature_request_signed", request_id="r1")


def bill(url: str, kind: str, name: str, kill_at: int) -> None:
    """Write one bill in a block, and die at a point; 0: at none."""
    bills = open_bills(kind, url)
    seen = 0

    def count(frame: FrameType, what: str, about: Any) -> None:
        nonlocal seen
        del what, about
        if frame.f_code.co_filename in WATCHED:
            seen += 1
            if seen == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    def act(_event: Event, context: Context) -> None:
        context.idempotency_key = name  # each point is another event
        if kill_at:
            sys.setprofile(count)
        with context.once(bills.session):
            bills.add(name)
        sys.setprofile(None)

    assert run(act, MADE).outcome == "done"


def lived(url: str, kind: str, name: str, kill_at: int) -> bool:
    """Live once, in a fork. Returns whether it was killed."""
    pid = os.fork()
    if pid == 0:
        try:
            bill(url, kind, name, kill_at)
        except BaseException:  # noqa: BLE001 - a fork must not go on as its parent
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


def main(kind: str, url: str, step: int) -> None:
    """Kill at every ``step``-th point until a life ends by itself; each name then lives again."""
    killed_at: list[int] = []
    survived: list[int] = []
    counted: Bills = open_bills("autocommit", url)
    counted.create()
    preloaded = open_bills(kind, url)  # what a life imports, it would import in each fork
    preloaded.count("")
    preloaded.session.close()
    for point in range(1, POINTS_MAX, step):
        name = f"point-{point}"
        killed = lived(url, kind, name, point)
        if killed and counted.count(name):
            survived.append(point)
        lived(url, kind, name, 0)
        if not killed:
            break
        killed_at.append(point)
    wrong = [point for point in killed_at if counted.count(f"point-{point}") != 1]
    sys.stdout.write(
        json.dumps({"points": len(killed_at), "committed": len(survived), "wrong": wrong}) + "\n"
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
