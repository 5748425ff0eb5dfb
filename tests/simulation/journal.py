"""What actions did, recorded outside Redis; and the laws that can only be checked while it happens."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from deedbox.shared.core.attempts import CallRate
from deedbox.shared.redis import keys
from tests.simulation.scheduler import Process, Scheduler
from tests.simulation.server import Server

LIMITED: Final = {"loose": (CallRate(2, 1), 1)}
"""Rate and concurrency of the actions that have them."""


@dataclass(slots=True, eq=False)
class Call:
    """One call of an action."""

    action: str
    fingerprint: str
    idempotency_key: str
    attempt: int
    retries: int
    late: bool
    unit: str
    lane: str
    process: Process
    token: str
    disturbances: int
    """Of its process, when it claimed the entry."""
    trust: str
    """Level of trust of the body that it got."""
    running: bool = True
    disturbed: bool | None = None
    """Whether a fault hit its process between claim and commit; None while that is open."""

    @property
    def excused(self) -> bool:
        """A fault may have swallowed its outcome, so that it may be repeated."""
        if self.disturbed is not None:
            return self.disturbed
        return not self.process.alive or self.process.disturbances > self.disturbances


@dataclass(slots=True)
class _Claimed:
    tokens: dict[str, str]
    disturbances: int


@dataclass
class Journal:
    """All calls, in the order in which they began."""

    scheduler: Scheduler
    server: Server
    calls: list[Call] = field(default_factory=list)
    effects: list[tuple[str, str]] = field(default_factory=list)
    """Action and fingerprint of every effect outside Redis."""
    broken: list[str] = field(default_factory=list)
    """Laws that were broken while it happened."""
    _claimed: dict[str, _Claimed] = field(default_factory=dict)
    _open: list[Call] = field(default_factory=list)
    _claims: list[tuple[str, float]] = field(default_factory=list)
    """Of limited actions: the action, and when."""

    def watch(self, process: Process, name: str, reply: Any) -> None:
        """See every command, before (reply None) and after it ran."""
        # A process that claims again has committed, or given up, what it claimed before.
        if name in {"claim_entries", "leave"} and reply is None:
            self._close(process)
        elif name == "claim_entries" and reply:
            self._claim(process, reply)
        elif name == "finish" and reply and reply[2]:
            self._close(process)
            self._claim(process, reply[2])

    def _close(self, process: Process) -> None:
        for call in [each for each in self._open if each.process is process]:
            call.disturbed = call.excused
            self._open.remove(call)

    def _claim(self, process: Process, reply: Any) -> None:
        self._demand_open(process, [row[0].decode() for row in reply[2:]])
        tokens = {row[0].decode(): row[1].decode() for row in reply[2:]}
        self._claimed[process.name] = _Claimed(tokens, process.disturbances)

    def _demand_open(self, process: Process, units: list[str]) -> None:
        """Check a claim at its moment: nothing of it is paused, and no action has more calls than it may."""
        paused = {field.decode() for field in self.server.execute("HKEYS", keys.PAUSED)}
        for unit in units:
            action, stream, *_ = unit.split("|")
            source = stream.partition(":")[0]
            fields = {f"action|{action}", f"lane|{process.kind}", f"source|{source}", f"request|{stream}"}
            for name in fields & paused:
                self.broken.append(f"pause: {unit} was claimed while {name} was paused")
            if action in LIMITED:
                self._demand_room(action, *LIMITED[action])

    def _demand_room(self, action: str, rate: CallRate, concurrency: int) -> None:
        now = self.scheduler.now
        self._claims.append((action, now))
        in_window = sum(name == action and at > now - rate.window_s for name, at in self._claims)
        if in_window > rate.calls:
            self.broken.append(f"limit: {action} was claimed {in_window} times in {rate.window_s} s")
        leased = self.server.size(keys.action(action, "leased"))
        if leased > concurrency:
            self.broken.append(f"limit: {action} has {leased} calls at a time")

    def begin(self, call: Call) -> Call:
        """Record that a call begins."""
        for other in [each for each in self._open if not each.process.alive]:
            other.disturbed, other.running = True, False
            self._open.remove(other)
        holder = self._holder(call)
        if call.token != holder:
            # Nothing pauses between the look at the clock and this call, so that even a stalled process knows.
            self.broken.append(f"P4 lease: {call.process.name} began {call.unit} after its lease was lost")
        for other in self._open:
            if other.running and other.unit == call.unit and other.process is not call.process:
                self._meet(call, other, holder)
        for earlier in self.calls:
            if _same_attempt(earlier, call) and not earlier.excused:
                self.broken.append(
                    f"P4 once: {call.action} was called again for {call.fingerprint} without a fault"
                )
        self.calls.append(call)
        self._open.append(call)
        return call

    def ends_itself(self, process: Process) -> None:
        """Record that a process ends itself because of a call, whose attempt it has committed: no excuse to repeat it."""
        for call in [each for each in self._open if each.process is process]:
            call.disturbed, call.running = process.disturbances > call.disturbances, False
            self._open.remove(call)

    def end(self, call: Call) -> None:
        """Record that a call ended, however."""
        call.running = False

    def claim_of(self, process: Process, unit: str) -> tuple[str, int]:
        """Return the token of a process's lease of a unit, and how often it had been disturbed at the claim."""
        claimed = self._claimed[process.name]
        return claimed.tokens[unit], claimed.disturbances

    def _holder(self, call: Call) -> str:
        token = self.server.execute("HGET", keys.action(call.action, "tokens"), call.unit)
        return token.decode() if token else ""

    def _meet(self, call: Call, other: Call, holder: str) -> None:
        if call.token == holder and other.token == holder:
            self.broken.append(f"P3 exclusive: {call.unit} runs twice under one lease")
        elif other.token != holder and not other.excused:
            self.broken.append(f"P3 exclusive: {call.unit} runs twice, and no lease could have expired")


def _same_attempt(one: Call, other: Call) -> bool:
    return (one.action, one.fingerprint, one.attempt, one.retries) == (
        other.action,
        other.fingerprint,
        other.attempt,
        other.retries,
    )
