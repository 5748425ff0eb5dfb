"""A process beside each worker: it gives back what the worker has claimed and not begun while a call keeps the interpreter.

A thread of the worker does so as soon as a call is slow. But a thread needs the interpreter, and a call in C code may keep
it for seconds, for a long regular expression for example. Other processes are free meanwhile.
"""

from __future__ import annotations

import atexit
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, NoReturn

from deedbox.shared.core.errors import Unavailable
from deedbox.shared.redis import script_calls
from deedbox.shared.redis.script_calls import NO_CLAIM
from deedbox.shared.redis.scripting import Scripts
from deedbox.shared.retention import Retention
from deedbox.shared.runtime import logs
from deedbox.shared.runtime.outage import Outage
from deedbox.shared.runtime.stopping import end_process
from deedbox.workers.commit import Commit
from deedbox.workers.lanes.ledger import ClaimLedger, Unit, Unstarted

LOOK_EVERY_S: Final = 0.25

log = logs.get("bystander")


class Bystander:
    """Looks at one worker's ledger."""

    def __init__(
        self, lane: str, ledger: ClaimLedger, scripts: Scripts, ring: Callable[[str], None], retention: Retention
    ) -> None:  # fmt: skip
        self._lane = lane
        self._ledger = ledger
        self._scripts = scripts
        self._ring = ring
        self._retention = retention
        self._done = 0
        """The batch that was given back last."""

    def due(self) -> Unstarted | None:
        """Return what is to be given back; None if there is nothing."""
        found = self._ledger.unstarted(time.monotonic())
        return None if found is None or found.batch == self._done else found

    def look(self) -> None:
        """Give back what will not begin. Raises Unavailable."""
        found = self.due()
        if found is None:
            return
        lanes = self._give_back(found.units)
        self._done = found.batch
        log.warning("bystander.gave_back", lane=self._lane, entries=len(found.units))
        for lane in lanes:
            self._ring(lane.decode())

    def _give_back(self, units: Sequence[Unit]) -> list[bytes]:
        backs = [Commit().outcome(unit.name, unit.token, "back") for unit in units]
        _refused, lanes, _claimed, _over = script_calls.finish(
            self._scripts, lane=self._lane, retention=self._retention, claim=NO_CLAIM, actions=(),
            operations=[operand for each in backs for operand in each.operands()],
        )  # fmt: skip
        return lanes


def stand_by(ledger: ClaimLedger, bystander: Callable[[], Bystander]) -> None:
    """Fork the process beside this one; it ends with this one.

    ``bystander`` is made there, when the ledger first holds something to give back: most never open a connection, and the
    pages of memory that they never touch are those of the worker.
    """
    worker = os.getpid()
    beside = os.fork()
    if not beside:
        _stand_by(ledger, bystander, worker)
    atexit.register(_end, beside, worker)


def _end(beside: int, worker: int) -> None:
    """End it with this process, and take its exit status: not every init does."""
    if os.getpid() == worker:
        with suppress(OSError):  # an action may have taken the status of any child
            os.kill(beside, signal.SIGKILL)
            os.waitpid(beside, 0)


def _stand_by(ledger: ClaimLedger, bystander: Callable[[], Bystander], worker: int) -> NoReturn:
    try:
        # A supervisor may signal the whole group: the worker decides when to end, and this process follows.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        mine, outage = None, Outage(log, "bystander.waiting")
        while os.getppid() == worker:
            time.sleep(LOOK_EVERY_S)
            if mine is None and ledger.unstarted(time.monotonic()) is not None:
                mine = bystander()
            if mine is None:
                continue
            try:
                mine.look()
                outage.ended()
            except Unavailable as error:
                outage.lasts(error=str(error))
    finally:
        end_process(0)
