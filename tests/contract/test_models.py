"""A read model in the commit of the outcomes that lead to it: all of it is written, or nothing."""

from __future__ import annotations

from typing import Any

import pytest

from deedbox.shared.redis import keys
from deedbox.shared.redis.scripting import Operand
from tests.contract.conftest import LEASE_S, Store, section

STREAM = "x:a/1"
UNIT = f"act|{STREAM}"
OTHER = "act|x:a/2"
KEEP = 3


def change(
    before: str, value: str, *terms: str, state: str = "sent", unit: str = UNIT, keep: int = KEEP
) -> list[Operand]:
    return ["K", unit, before, value, keep, state, 100, len(terms), *terms]


def told(text: str) -> tuple[tuple[Operand, ...], ...]:
    """Make the operations of an outcome that leaves traces: a line, a counter, a measure."""
    return ("T", 1, text), ("C", "done", 1), ("M", "done", 0, 5)


def model(store: Store, stream: str = STREAM) -> Any:
    return store.redis.get(keys.request(stream))


def lines(store: Store) -> list[Any]:
    found: list[Any] = store.redis.lrange(keys.timeline(STREAM), 0, -1)
    return found


def test_a_model_is_written_with_all_outcomes_that_lead_to_it(store: Store) -> None:
    store.enqueue((UNIT, "1"), (UNIT, "2"))
    claim = store.claim("a", 2)[0]
    one, two = (
        section(claim, "next", 0, *told("one")),
        section(claim, "done", 0, *told("two"), entry=b"2"),
    )
    assert store.commit(one, two, change("", "m2", "s1")) == [0]
    assert (model(store), lines(store)[-2:], store.depth()) == (b"m2", [b"one", b"two"], 0)
    assert [store.redis.zrange(keys.find(term), 0, -1) for term in ("sent", "s1")] == [[b"1"], [b"1"]]


def test_of_a_model_that_changed_meanwhile_nothing_is_written_and_the_calls_are_made_again(
    store: Store,
) -> None:
    store.enqueue((UNIT, "1"), (UNIT, "2"), (OTHER, "3"))
    claims = {claim.unit: claim for claim in store.claim("a", 4)}
    claim, other = claims[UNIT.encode()], claims[OTHER.encode()]
    store.redis.set(keys.request(STREAM), "of the API")
    before = lines(store)
    commit = (
        section(claim, "next", 0, *told("one")),
        section(claim, "next", 0, *told("two"), entry=b"2"),
        section(other, "done", 0, ("C", "others", 1)),
        change("", "m2"),
        change("", "o1", unit=OTHER),
    )
    assert store.commit(*commit)[0] == 0, "no outcome is lost: none was"
    assert store.over == [UNIT.encode()]
    assert (model(store), lines(store)) == (b"of the API", before)
    assert (model(store, "x:a/2"), store.redis.hget(keys.COUNTERS, "others")) == (b"o1", b"1")
    assert store.redis.hget(keys.COUNTERS, "done") is None
    again = store.claim("b", 2)[0]
    assert (again.unit, [again.entry, again.entries[1]]) == (UNIT.encode(), [b"1", b"2"])


def test_a_commit_that_is_sent_again_counts_nothing_twice(store: Store) -> None:
    store.enqueue((UNIT, "1"), (UNIT, "2"))
    claim = store.claim("a", 2)[0]
    for _ in range(2):
        store.commit(section(claim, "next", 0, *told("one")), change("", "m1"))
    assert store.over == [UNIT.encode()], "its reply was lost, so that it is not known what is stored"
    assert (model(store), lines(store).count(b"one")) == (b"m1", 1)
    again = store.claimed("b")
    assert again.entry == b"2"
    assert store.commit(section(again, "done", 0, *told("two")), change("m1", "m2"))[0] == 0
    assert model(store) == b"m2"


@pytest.mark.parametrize("verb", ["done", "next"])
def test_a_stale_token_writes_no_model(store: Store, verb: str) -> None:
    store.enqueue((UNIT, "1"))
    stale = store.claimed("paused")
    store.now += LEASE_S + 1
    store.sweep()
    store.claimed("b")
    before = store.dump()
    assert store.commit(section(stale, verb, 0, *told("one")), change("", "m1")) == [1]
    assert store.dump() == before


def test_of_an_erased_stream_no_model_is_written(store: Store) -> None:
    store.enqueue((UNIT, "1"))
    claim = store.claimed("a")
    store.redis.set(keys.erased(STREAM), "{}")
    assert store.commit(section(claim, "done", 0, *told("one")), change("", "m1", "s1"))[0] == 0
    assert model(store) is None
    assert not store.redis.exists(keys.find("s1"), keys.finds(STREAM))


def test_two_units_of_one_commit_do_not_overwrite_each_other(store: Store) -> None:
    unordered = [f"loose|{STREAM}|{letter * 32}" for letter in "ab"]
    store.enqueue((unordered[0], "a" * 32), (unordered[1], "b" * 32))
    claims = store.claim("a", 2)
    names = [claim.unit.decode() for claim in claims]
    store.commit(
        *(section(claim, "done", 0) for claim in claims),
        *(change("", f"of {number}", unit=name) for number, name in enumerate(names)),
    )
    assert (model(store), store.over) == (b"of 0", [claims[1].unit])
    assert store.claimed("b").unit == claims[1].unit


@pytest.mark.parametrize(
    "name", [keys.request(STREAM), keys.finds(STREAM), keys.find("sent"), keys.find("s1")]
)
def test_a_key_of_another_type_is_moved_away_and_the_commit_goes_on(store: Store, name: str) -> None:
    """Law: what has run is committed as a whole."""
    store.enqueue((UNIT, "1"))
    claim = store.claimed("a")
    store.redis.delete(name)
    store.redis.rpush(name, "foreign")
    assert store.commit(section(claim, "done", 0, *told("one")), change("", "m1", "s1"))[0] == 0
    assert (model(store), store.depth()) == (b"m1", 0)
    assert store.redis.zrange(keys.find("s1"), 0, -1) == [b"1"]
    assert store.redis.lrange(f"{keys.PREFIX}foreign:{name}", 0, -1) == [b"foreign"]


def test_the_indexes_follow_the_state_and_are_bounded(store: Store) -> None:
    for number in range(5):
        store.now += 1
        unit = f"act|x:a/{number}"
        store.enqueue((unit, "1"), (unit, "2"))
        claim = store.claim("a", 2)[0]
        store.commit(
            section(claim, "next", 0), section(claim, "done", 0, entry=b"2"), change("", "m", "s1", unit=unit)
        )
    assert store.redis.zrange(keys.find("s1"), 0, -1) == [b"2", b"3", b"4"]
    store.now += 1
    unit = "act|x:a/3"
    store.enqueue((unit, "3"))
    store.commit(section(store.claimed("a"), "done", 0), change("m", "n", state="signed", unit=unit))
    assert store.redis.zrange(keys.find("sent"), 0, -1) == [b"2", b"4"]
    assert store.redis.hgetall(keys.finds("x:a/3")) == {b"signed": b"state", b"s1": b""}
    assert store.redis.zrange(keys.find("s1"), -1, -1) == [b"3"], "the latest change comes first"
