"""A batch with several entries of a unit: what may begin when, and what is committed for it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from deedbox.workers.lanes.batch import Claim, LaneBatch, Settlement
from deedbox.workers.lanes.claims import claims_of
from deedbox.workers.lanes.ledger import SLACK_S, ClaimLedger

UNTIL = 100.0

lengths = st.lists(st.integers(1, 5), min_size=1, max_size=5)
"""Entries of each unit."""


def claimed(amounts: list[int]) -> list[Claim]:
    units: list[list[Any]] = []
    for number, amount in enumerate(amounts):
        units.append([b"act|s:%d" % number, b"%d:worker" % number])
        for entry in range(amount):
            units[-1] += [b"%d" % entry, b"", b""]
    return claims_of("default", units)


def sections(batch: LaneBatch) -> list[tuple[str, str, bytes]]:
    """Collect: unit, verb and entry of each section."""
    found = []
    for section in batch.collect():
        _, unit, _, verb, _, entry = section.commit.operands()[:6]
        assert isinstance(unit, str)
        assert isinstance(verb, str)
        assert isinstance(entry, bytes)
        found.append((unit, verb, entry))
    return found


@given(lengths, st.data())
def test_an_entry_begins_after_the_commit_of_the_one_before_it(
    amounts: list[int], data: st.DataObject
) -> None:
    """Law: of each unit in its order, each outcome committed before the next begins, and the last ends the lease."""
    batch = LaneBatch(claimed(amounts), ClaimLedger(), UNTIL, lambda: 0.0)
    committed: dict[str, list[tuple[str, bytes]]] = {}
    over: set[str] = set()

    def commit() -> None:
        for unit, verb, entry in sections(batch):
            assert unit not in over, "its lease is over"
            committed.setdefault(unit, []).append((verb, entry))
            if verb != "next":
                over.add(unit)

    begun: Counter[str] = Counter()
    while True:
        if batch.must_commit() or data.draw(st.booleans()):
            commit()
        if data.draw(st.integers(0, 9)) == 0:
            batch.give_back()
        if (claim := batch.take()) is None:
            break
        assert claim.unit not in over
        assert claim.entry_text == b"%d" % begun[claim.unit]
        assert len(committed.get(claim.unit, [])) == begun[claim.unit]
        begun[claim.unit] += 1
        if data.draw(st.integers(0, 9)) == 0:
            batch.give_back()  # by the attendant, while it runs
        batch.finish(claim, Settlement("wait" if data.draw(st.integers(0, 9)) == 0 else "done", 1.0))
    commit()
    assert over == {f"act|s:{number}" for number in range(len(amounts))}, "each lease is over"


@given(lengths)
def test_units_take_turns(amounts: list[int]) -> None:
    order = [(int(claim.entry_text), claim.unit) for claim in claimed(amounts)]
    assert order == sorted(order)


def test_nothing_more_begins_of_a_unit_that_was_dropped() -> None:
    batch = LaneBatch(claimed([3, 2]), ClaimLedger(), UNTIL, lambda: 0.0)
    first = batch.take()
    assert first is not None
    batch.finish(first, Settlement("done", 0))
    batch.drop({first.unit})
    left = []
    while (claim := batch.take()) is not None:
        left.append(claim.unit)
        batch.finish(claim, Settlement("done", 0))
    assert left == ["act|s:1", "act|s:1"]


def test_the_process_beside_gives_back_no_unit_of_which_an_entry_has_begun() -> None:
    ledger = ClaimLedger()
    batch = LaneBatch(claimed([3, 3, 3]), ledger, UNTIL, lambda: 0.0)
    batch.take()
    found = ledger.unstarted(UNTIL + SLACK_S + 0.001)
    assert found is not None
    assert [unit.name for unit in found.units] == ["act|s:1", "act|s:2"]
