"""One thread runs at a time, and a seed decides which: tasks hand a baton over at every Redis command.

Threads, because the code under test is plain blocking code. Only the holder of the baton runs, so neither the
interpreter's thread switching nor the hash seed can change what happens.
"""

from __future__ import annotations

import hashlib
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from random import Random
from typing import Final

START: Final = 1_800_000_000.0
"""Unix seconds at which every simulated world begins."""


class Crashed(BaseException):
    """The simulated process was killed here. No ``Exception``: only ``finally`` blocks see it, and reach nothing."""


@dataclass(eq=False)
class Process:
    """A process: its tasks die together."""

    name: str
    kind: str
    tasks: list[Task] = field(default_factory=list)
    stalled_until: float = 0.0
    """Paused as a whole (SIGSTOP, a frozen machine) until then."""
    stopping: bool = False
    alive: bool = True
    disturbances: int = 0
    """Faults that hit this process so far: what it did in between may have to be repeated."""


@dataclass(eq=False)
class Task:
    """One thread of a process."""

    name: str
    process: Process
    wake_at: float = 0.0
    """Runnable from this time on."""
    ready: Callable[[], bool] | None = None
    """Runnable as soon as this holds, even before ``wake_at``."""
    doomed: bool = False
    go: threading.Lock = field(default_factory=threading.Lock)
    thread: threading.Thread | None = None

    def runnable(self, now: float) -> bool:
        if self.process.stalled_until > now:
            return False
        return self.wake_at <= now or (self.ready is not None and self.ready())


Line = Callable[[], str]
"""A line of the trace, made only if someone reads it."""


class Trace:
    """Keeps nothing: a run over many seeds needs no trace."""

    def add(self, line: Line) -> None:
        """Add a line."""


class Recorder(Trace):
    """Keeps a digest, and shows every line if someone reads them."""

    def __init__(self, show: Callable[[str], None] | None = None) -> None:
        self._digest = hashlib.blake2b(digest_size=16)
        self._show = show

    def add(self, line: Line) -> None:
        text = line()
        self._digest.update(text.encode("utf-8", "surrogatepass") + b"\n")
        if self._show is not None:
            self._show(text)

    def digest(self) -> str:
        """Return the digest of all lines: equal for equal schedules."""
        return self._digest.hexdigest()


class Scheduler:
    """Owns the clock, the tasks and the baton."""

    def __init__(
        self, rng: Random, trace: Trace, *, stickiness: float, step_s: float, steps_max: int
    ) -> None:
        self.rng = rng
        self.trace = trace
        self.now = START
        self.steps = 0
        self.failures: list[str] = []
        self.before_step: Callable[[], None] = lambda: None
        """May move the clock, stall and kill."""
        self.on_idle: Callable[[], bool] = lambda: False
        """Asked whenever nothing can run at this time; True ends the schedule."""
        self._stickiness = stickiness
        self._step_s = step_s
        self._steps_max = steps_max
        self._tasks: list[Task] = []
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer_number = 0
        self._main = threading.Lock()
        self._main.acquire()
        self._current: Task | None = None
        self._over = False

    @property
    def current(self) -> Task:
        """The task that holds the baton."""
        if self._current is None:
            raise RuntimeError("no task runs")
        return self._current

    @property
    def live(self) -> list[Process]:
        """Processes that have not been killed and did not end, in order of their birth."""
        return list(dict.fromkeys(task.process for task in self._tasks))

    def spawn(self, process: Process, name: str, body: Callable[[], object]) -> None:
        """Add a task; it runs when the scheduler chooses it."""
        task = Task(name, process)
        task.go.acquire()
        task.thread = threading.Thread(target=self._life, args=(task, body), name=name, daemon=True)
        self._tasks.append(task)
        process.tasks.append(task)
        task.thread.start()

    def at(self, time: float, action: Callable[[], None]) -> None:
        """Run something (quick, without pauses) at a time."""
        self._timers.append((time, self._timer_number, action))
        self._timer_number += 1
        self._timers.sort()

    def run(self) -> None:
        """Run until ``on_idle`` says that it is over or a task failed, then unwind every thread."""
        self._pass_on(None)
        self._main.acquire()
        for task in list(self._tasks):
            self._unwind(task)

    def pause(self, wake_at: float = 0.0, ready: Callable[[], bool] | None = None) -> None:
        """Let others run; go on when chosen, not before ``wake_at`` unless ``ready`` holds. Raises Crashed."""
        me = self.current_or_doomed()
        me.wake_at, me.ready = wake_at, ready
        self._disturb(me)
        self._pass_on(me)
        if me.doomed:
            raise Crashed
        me.ready = None

    def note(self, what: Line) -> None:
        """Add a line to the trace."""
        name = self._current.name if self._current else "-"
        self.trace.add(lambda: f"{self.now - START:.6f} {name}: {what()}")

    def sleep(self, seconds: float) -> None:
        """Let simulated time pass. Raises Crashed."""
        self.pause(self.now + seconds)

    def current_or_doomed(self) -> Task:
        """Return the running task. Raises Crashed in one that is being unwound: it must reach nothing any more."""
        if self._current is None or self._current.thread is not threading.current_thread():
            raise Crashed
        if self._current.doomed:
            raise Crashed
        return self._current

    def kill(self, process: Process) -> None:
        """Kill a process: nothing of it has an effect from here on."""
        process.alive = False
        for task in list(process.tasks):
            if task is self._current:
                task.doomed = True  # unwinds when its pause returns, and passes the baton on at its end
            else:
                self._unwind(task)

    def _disturb(self, me: Task) -> None:
        self.steps += 1
        self.now = round(self.now + self.rng.random() * self._step_s, 6)
        if self.steps > self._steps_max:
            self._fail(f"livelock: {self.steps} steps without an end")
        self.before_step()
        if me.doomed:
            raise Crashed

    def _unwind(self, task: Task) -> None:
        task.doomed = True
        if task in self._tasks and task.thread is not None:
            task.go.release()
            task.thread.join()

    def _life(self, task: Task, body: Callable[[], object]) -> None:
        task.go.acquire()
        try:
            if not task.doomed:
                body()
        except Crashed:
            pass
        except BaseException:  # noqa: BLE001 - a task that dies of anything else is a finding
            if not task.doomed:
                self._fail(f"{task.name} died:\n{traceback.format_exc()}")
        self._tasks.remove(task)
        task.process.tasks.remove(task)
        if self._current is task:
            self._pass_on(None)

    def _fail(self, what: str) -> None:
        self.failures.append(what)
        self._over = True

    def _pass_on(self, me: Task | None) -> None:
        """Choose the next task, give it the baton and, if this is a task that goes on, wait for one's turn."""
        chosen = self._choose()
        if me is not None and me.doomed:
            return  # killed by a timer while choosing: it unwinds with the baton, then another is chosen
        self._current = chosen
        if chosen is me and me is not None:
            return
        (self._main if chosen is None else chosen.go).release()
        if me is not None:
            me.go.acquire()

    def _choose(self) -> Task | None:
        while not self._over:
            while self._timers and self._timers[0][0] <= self.now:
                self._timers.pop(0)[2]()
            runnable = [task for task in self._tasks if task.runnable(self.now)]
            if runnable:
                return self._draw(runnable)
            if self.on_idle():
                break
            self._skip()
        return None

    def _draw(self, runnable: list[Task]) -> Task:
        if self._current in runnable and self.rng.random() < self._stickiness:
            return self._current
        return runnable[int(self.rng.random() * len(runnable))] if len(runnable) > 1 else runnable[0]

    def _skip(self) -> None:
        """Nothing can run now: move the clock to where something can."""
        times = [max(task.wake_at, task.process.stalled_until) for task in self._tasks]
        times += [task.process.stalled_until for task in self._tasks if task.process.stalled_until > self.now]
        times += [timer[0] for timer in self._timers]
        later = [time for time in times if self.now < time < inf]
        if not later:
            self._fail("deadlock: nothing can ever run again")
            return
        self.now = min(later)
