"""What the process beside a worker reads: never an entry that may still begin, and in the end every other one."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deedbox.workers.lanes.batch import Claim, LaneBatch
from deedbox.workers.lanes.ledger import SLACK_S, ClaimLedger

UNTIL = 100.0
LATER = UNTIL + SLACK_S + 0.001


def claims(count: int) -> list[Claim]:
    return [Claim("default", f"act|s:{number}", f"{number}:worker", b"", b"", b"") for number in range(count)]


class Clock:
    def __init__(self) -> None:
        self.now = UNTIL - 1

    def __call__(self) -> float:
        return self.now


@given(count=st.integers(0, 256), begun=st.integers(0, 256))
def test_what_has_not_begun_is_read_once_nothing_can_begin_any_more(count: int, begun: int) -> None:
    ledger, clock = ClaimLedger(), Clock()
    batch = LaneBatch(claims(count), ledger, UNTIL, clock)
    taken = [batch.take() for _ in range(min(begun, count))]
    found = ledger.unstarted(LATER)
    left = [claim.unit for claim in claims(count)[len(taken) :]] if count > 1 else []
    assert [unit.name for unit in (found.units if found else ())] == left
    assert ledger.unstarted(UNTIL) is None


@given(st.integers(2, 20), st.integers(0, 20))
def test_what_is_read_is_never_begun(count: int, begun: int) -> None:
    """Law, whatever the worker does at whatever time: the one that is about to begin is not read, or does not begin."""
    ledger, clock = ClaimLedger(), Clock()
    batch = LaneBatch(claims(count), ledger, UNTIL, clock)
    for _ in range(min(begun, count)):
        batch.take()
    clock.now = LATER
    found = ledger.unstarted(clock.now)
    assert batch.take() is None
    if found is not None:
        assert ledger.unstarted(clock.now) is None, "the batch is over"
    assert len(batch.collect()) == count - min(begun, count), "the worker gives back the same"


def test_a_batch_that_is_over_leaves_nothing() -> None:
    ledger = ClaimLedger()
    batch = LaneBatch(claims(3), ledger, UNTIL, Clock())
    while batch.take() is not None:
        pass
    assert ledger.unstarted(LATER) is None


def test_units_too_long_for_the_ledger_are_left_to_their_leases() -> None:
    ledger = ClaimLedger()
    ledger.open([("x" * 200_000, "1"), ("y" * 200_000, "2")], UNTIL)
    assert ledger.unstarted(LATER) is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_another_process_reads_it() -> None:
    ledger = ClaimLedger()
    batch = LaneBatch(claims(5), ledger, UNTIL, Clock())
    child = os.fork()
    if not child:
        batch.take()
        batch.take()
        os._exit(0)
    os.waitpid(child, 0)
    found = ledger.unstarted(LATER)
    assert found is not None
    assert [unit.name for unit in found.units] == ["act|s:2", "act|s:3", "act|s:4"]
