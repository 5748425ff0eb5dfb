"""The laws of the circuit breaker, with the time in the test's hands."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from deedbox.ingress.publish.breaker import Breaker, BreakerPolicy, BreakerState

POLICY = BreakerPolicy()


def broken(now: float = 0.0) -> Breaker:
    """Return a breaker that has just opened."""
    breaker = Breaker()
    for _ in range(POLICY.failures):
        ticket = breaker.admit(now)
        assert ticket is not None
        breaker.failed(ticket, now)
    assert breaker.state is BreakerState.OPEN
    return breaker


def test_fewer_failures_than_the_limit_change_nothing() -> None:
    breaker = Breaker()
    for _ in range(20):
        for _ in range(POLICY.failures - 1):
            breaker.failed(breaker.admit(0) or 0, 0)
        breaker.succeeded(breaker.admit(0) or 0)
    assert breaker.state is BreakerState.CLOSED


def test_an_open_breaker_admits_nobody_however_long_it_takes() -> None:
    breaker = broken()
    assert all(breaker.admit(at) is None for at in range(0, 10_000, 100))


def test_one_probe_at_a_time() -> None:
    breaker = broken()
    assert not breaker.claim_probe(POLICY.first_wait_s / 2)
    assert breaker.claim_probe(POLICY.first_wait_s)
    assert not breaker.claim_probe(POLICY.first_wait_s)
    assert breaker.admit(POLICY.first_wait_s) is None


def test_a_probe_that_succeeds_closes_it() -> None:
    breaker = broken()
    assert breaker.claim_probe(10)
    breaker.probe_succeeded()
    assert breaker.admit(10) is not None


def test_probes_that_fail_come_ever_less_often_up_to_a_limit() -> None:
    breaker, now, waits = broken(), 0.0, []
    for _ in range(8):
        waited = 0.0
        while not breaker.claim_probe(now + waited):
            waited += 0.125
        waits.append(waited)
        now += waited
        breaker.probe_failed(now)
    assert waits == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0, 5.0]


def test_a_probe_whose_thread_died_is_given_to_another() -> None:
    breaker = broken()
    assert breaker.claim_probe(1)
    assert not breaker.claim_probe(1 + POLICY.probe_lost_s / 2)
    assert breaker.claim_probe(1 + POLICY.probe_lost_s)


def test_a_publish_without_an_answer_keeps_others_away() -> None:
    breaker = Breaker()
    ticket = breaker.admit(0)
    assert ticket is not None
    assert breaker.admit(POLICY.stall_s / 2) is not None
    assert breaker.admit(POLICY.stall_s) is None
    breaker.succeeded(ticket)
    assert breaker.admit(POLICY.stall_s) is not None


def test_a_straggler_that_succeeds_closes_an_open_breaker() -> None:
    breaker = Breaker()
    straggler = breaker.admit(0) or 0
    for _ in range(POLICY.failures):
        breaker.failed(breaker.admit(0) or 0, 0)
    assert breaker.admit(1) is None
    breaker.succeeded(straggler)
    assert breaker.admit(1) is not None


class AnyHistory(RuleBasedStateMachine):
    """Whatever happens in whatever order, the breaker neither opens for nothing nor stays open for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker, self.now = Breaker(), 0.0
        self.tickets: list[int] = []
        self.failures = 0

    @rule(seconds=st.floats(0, 3))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def publish(self) -> None:
        ticket = self.breaker.admit(self.now)
        if ticket is not None:
            assert self.breaker.state is BreakerState.CLOSED
            self.tickets.append(ticket)

    @precondition(lambda self: self.tickets)
    @rule(how=st.sampled_from(["succeeded", "failed", "abandoned"]))
    def end(self, how: str) -> None:
        ticket = self.tickets.pop(0)
        if how == "succeeded":
            self.breaker.succeeded(ticket)
            self.failures = 0
        elif how == "failed":
            self.failures += 1
            self.breaker.failed(ticket, self.now)
        else:
            self.breaker.abandoned(ticket)

    @rule(well=st.booleans())
    def probe(self, well: bool) -> None:  # noqa: FBT001
        if self.breaker.claim_probe(self.now):
            if well:
                self.breaker.probe_succeeded()
                self.failures = 0
            else:
                self.breaker.probe_failed(self.now)

    @invariant()
    def opens_only_for_failures(self) -> None:
        assert (self.breaker.state is BreakerState.CLOSED) is (self.failures < POLICY.failures)

    @invariant()
    def a_probe_is_never_further_away_than_the_longest_wait(self) -> None:
        if self.breaker.state is BreakerState.OPEN:
            assert self.breaker._probe_at <= self.now + POLICY.longest_wait_s


TestAnyHistory = AnyHistory.TestCase
