"""A batch of claimed entries, and the attendant that keeps a slow call from holding up the rest of it.

Fast actions cost less than the round trips around them, so a runner claims many entries and commits many
outcomes at once. That must not hurt anyone: as soon as one call takes longer than a moment, a thread commits
the outcomes so far, gives back what was not started, and renews the lease of the call that runs.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field
from typing import Any, Final

from deedbox.shared.core.values import value
from deedbox.shared.runtime import logs
from deedbox.shared.runtime.outage import Outage
from deedbox.workers.actions.interface import ModelChange
from deedbox.workers.commit import Commit
from deedbox.workers.lanes.ledger import ClaimLedger

MOMENT_S: Final = 0.05
"""A call longer than this is slow: others stop waiting for it."""

log = logs.get("batch")


@value
class Claim:
    """One leased entry, with its event."""

    lane: str
    unit: str
    token: str
    entry_text: bytes
    head: bytes = field(repr=False)
    """Facts of its event, packed; empty: the event is gone."""
    body: bytes = field(repr=False)


@value
class Settlement:
    """What to commit for a claim: a verb of ``finish.lua`` (done, wait, back), its wait, and operations."""

    verb: str
    wait_s: float
    operations: Commit = field(default_factory=Commit)
    change: ModelChange | None = None
    """To be committed with it; then it has no other effect."""
    line: Mapping[str, Any] | None = None
    """Of the log, for after the commit; None: there is none, or it is written already."""


@value
class Section:
    """What is committed for one claim."""

    unit: str
    commit: Commit
    change: ModelChange | None = None
    line: Mapping[str, Any] | None = None


class LaneBatch:
    """Claimed entries in the order in which they are to run, those of a unit in that of its queue.

    Shared by the runner (takes and finishes) and the attendant (gives back): every method locks.
    """

    def __init__(
        self,
        claims: Sequence[Claim],
        ledger: ClaimLedger,
        begin_until: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``begin_until``: no entry begins later; its lease may be lost by then."""
        self._pending = deque(claims)
        self._behind = Counter(claim.unit for claim in claims)
        """How many entries of each unit are pending."""
        self._begun: set[str] = set()
        self._ledger = ledger
        self._begin_until = begin_until
        ledger.open(list(dict.fromkeys((claim.unit, claim.token) for claim in claims)), begin_until)
        self._sections: list[Section] = []
        self._recorded: set[str] = set()
        """Units of which nothing may begin before a commit: an outcome of an effect is among the sections."""
        self._current: tuple[Claim, float] | None = None
        self._monotonic = monotonic
        self._lock = threading.Lock()

    def take(self) -> Claim | None:
        """Start the next entry; None if there is no more, or if this process was paused: others may have them by now."""
        with self._lock:
            self._current = None
            if self._pending:
                # In this order: see ``ledger``.
                self._begun.add(self._pending[0].unit)
                self._ledger.begin(len(self._begun))
                now = self._monotonic()
                if now <= self._begin_until:
                    claim = self._pending.popleft()
                    self._behind[claim.unit] -= 1
                    self._current = claim, now
                    return claim
                self._give_back()
            self._ledger.close()
            return None

    def must_commit(self) -> bool:
        """Return whether the next entry may begin only after a commit: it follows an effect of its own unit."""
        with self._lock:
            return bool(self._pending) and self._pending[0].unit in self._recorded

    def drop(self, units: Collection[str]) -> None:
        """Let nothing more of some units begin: their leases are over."""
        if units:
            with self._lock:
                self._drop(units)

    def _drop(self, units: Collection[str]) -> None:
        self._pending = deque(claim for claim in self._pending if claim.unit not in units)
        self._behind = Counter(claim.unit for claim in self._pending)

    def finish(self, claim: Claim, outcome: Settlement) -> None:
        """Record the outcome of the entry that was taken last, unless another one was recorded meanwhile."""
        with self._lock:
            if self._current is not None:
                self._current = None
                self._record(claim, outcome)

    def _record(self, claim: Claim, outcome: Settlement) -> None:
        verb = outcome.verb
        if self._behind[claim.unit]:
            if verb == "done":
                verb = "next"
            else:
                self._drop({claim.unit})
        section = Commit().outcome(
            claim.unit, claim.token, verb, wait_s=outcome.wait_s, entry=claim.entry_text
        )
        self._sections.append(
            Section(claim.unit, section.append(outcome.operations), outcome.change, outcome.line)
        )
        if outcome.change is None:
            self._recorded.add(claim.unit)

    def overrule(self, claim: Claim, outcome: Settlement) -> bool:
        """Record an outcome for a call that did not end. Returns False if it has ended by now."""
        with self._lock:
            if self._current is None or self._current[0] is not claim:
                return False
            self._current = None
            self._record(claim, outcome)
            return True

    def running(self) -> tuple[Claim, float] | None:
        """Return the entry that runs and for how long (seconds)."""
        with self._lock:
            if self._current is None:
                return None
            return self._current[0], self._monotonic() - self._current[1]

    def give_back(self) -> None:
        """Let go of everything that was not started."""
        with self._lock:
            self._give_back()

    def _give_back(self) -> None:
        left = {claim.unit: claim for claim in self._pending}
        if self._current is not None:
            left.pop(self._current[0].unit, None)  # what follows it becomes ready with its outcome
        self._sections += [
            Section(unit, Commit().outcome(unit, claim.token, "back")) for unit, claim in left.items()
        ]
        self._pending.clear()
        self._behind.clear()

    def collect(self) -> list[Section]:
        """Take the sections that wait to be committed."""
        with self._lock:
            sections, self._sections = self._sections, []
            self._recorded.clear()
            return sections

    def put_back(self, sections: list[Section]) -> None:
        """Return sections whose commit failed, before any newer ones."""
        with self._lock:
            self._sections = sections + self._sections


class Attendant:
    """Watches one batch at a time from its own thread; one per process."""

    def __init__(self, attend: Callable[[LaneBatch, Claim, float], None]) -> None:
        """``attend`` is called again and again with a slow call and the seconds that it has run for."""
        self._attend = attend
        self._changed = threading.Condition()
        self._batch: LaneBatch | None = None
        self._thread: threading.Thread | None = None

    @contextmanager
    def attending(self, batch: LaneBatch) -> Iterator[None]:
        """Watch the batch inside the block."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="attendant", daemon=True)
            self._thread.start()
        with self._changed:
            self._batch = batch
            self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._batch = None

    def current(self) -> LaneBatch | None:
        """Return the batch that is being worked off."""
        return self._batch

    def _run(self) -> None:
        outage = Outage(log, "attendant.waiting")
        while True:
            with self._changed:
                while self._batch is None:
                    self._changed.wait()
                batch = self._batch
            time.sleep(MOMENT_S)
            running = batch.running()
            if running is None or running[1] < MOMENT_S:
                continue
            try:
                batch.give_back()
                self._attend(batch, *running)
            except Exception as error:  # noqa: BLE001 - without this thread, leases of slow calls would end
                outage.lasts(error=type(error).__name__)
            else:
                outage.ended()
