"""A stored event lies in pieces in its hash; callers give and get facts and body whole."""

from __future__ import annotations

from typing import Any

import pytest

from deedbox.shared.records.stored_event import FIELDS, HEAD, PIECES_BYTES, body_of, head_of
from deedbox.shared.redis import keys
from deedbox.shared.redis.scripting import Operand
from tests.contract.conftest import Store, queued

STREAM = "x:signature_request/1"
EVENT = "e" * 32
SIZES = (0, 1, 63, 64, 65, PIECES_BYTES - 1, PIECES_BYTES, PIECES_BYTES + 1, 5000)


def fact(store: Store, head: bytes, body: bytes, *more: str) -> None:
    """Release an event whose only action is ``act``."""
    store.append((0, b"callback"))
    fields: tuple[Operand, ...] = ("0", head, "a", body, *more)
    operation = ("F", EVENT, 1, len(fields), *fields) if more else ("N", 1, EVENT, 1, head, body)
    store.release(
        store.shard("sequencer"), 1, ("S", STREAM, "", ""), operation,
        queued(f"act|{STREAM}", EVENT),
    )  # fmt: skip


@pytest.mark.parametrize("more", [(), ("aside", "why")])
@pytest.mark.parametrize("size", SIZES)
def test_an_event_is_claimed_as_it_was_released(store: Store, size: int, more: tuple[str, ...]) -> None:
    head, body = b"{" + bytes(size // 4), b"b" * size
    fact(store, head, body, *more)
    assert store.claimed("worker").events == [(head, body)]
    found: Any = store.redis.hgetall(keys.event(EVENT))
    assert (head_of(found), body_of(found), found.get(b"aside")) == (head, body, b"why" if more else None)
    assert size > PIECES_BYTES or max(map(len, found.values())) <= 64


@pytest.mark.parametrize("size", SIZES)
def test_nothing_is_left_of_an_event_that_was_replaced(store: Store, size: int) -> None:
    fact(store, b"{" * 400, b"b" * 1000)
    fact(store, b"{", b"c" * size)
    found: Any = store.redis.hgetall(keys.event(EVENT))
    assert (head_of(found), body_of(found)) == (b"{", b"c" * size)


def test_an_event_that_is_gone_is_claimed_without_facts(store: Store) -> None:
    store.enqueue((f"act|{STREAM}", EVENT))
    assert store.claimed("worker").events == [(b"", b"")]


def test_no_piece_has_the_name_of_another_field() -> None:
    assert len({*FIELDS, "aside", "bodies", "clean", "open", "source", "sealed"}) == len(FIELDS) + 6
    assert FIELDS[: len(HEAD)] == HEAD
