"""Callbacks that arrive while a publish is under way share the next one, and none of them is lost or left waiting."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Queue

import pytest

from deedbox.ingress.publish.batches import BATCH_BYTES, NO_ANSWER, Batches, Seat
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.signature import BodySignature

LONG_S = 30.0
"""No test waits for so long unless it fails."""


def envelope(name: str, size_bytes: int = 1) -> Envelope:
    return Envelope("default", 1.5, BodySignature.ABSENT, name, b"x" * size_bytes)


class Broker:
    """Tells of each batch, and ends its publish when it is told how."""

    def __init__(self) -> None:
        self.begun: Queue[list[str]] = Queue()
        self.answers: Queue[str | BaseException | None] = Queue()

    def publish(self, envelopes: Sequence[Envelope]) -> str | None:
        self.begun.put([each.trace_id for each in envelopes])
        answer = self.answers.get(timeout=LONG_S)
        if isinstance(answer, BaseException):
            raise answer
        return answer


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def batches(broker: Broker) -> Batches:
    return Batches(broker.publish)


def test_a_callback_that_is_alone_is_published_at_once(broker: Broker, batches: Batches) -> None:
    seat = batches.join(envelope("a"))
    assert broker.begun.get(timeout=LONG_S) == ["a"]
    broker.answers.put(None)
    assert seat.cause(LONG_S) is None


def test_those_that_come_during_a_publish_share_the_next_in_order(broker: Broker, batches: Batches) -> None:
    seats = [batches.join(envelope("a"))]
    assert broker.begun.get(timeout=LONG_S) == ["a"]
    seats += [batches.join(envelope(name)) for name in "bcd"]
    broker.answers.put(None)
    assert broker.begun.get(timeout=LONG_S) == ["b", "c", "d"]
    broker.answers.put("down")
    assert [seat.cause(LONG_S) for seat in seats] == [None, "down", "down", "down"]


def test_a_batch_ends_with_the_envelope_that_makes_it_large(broker: Broker, batches: Batches) -> None:
    batches.join(envelope("a"))
    broker.begun.get(timeout=LONG_S)
    for name in ("b", "c", "d"):
        batches.join(envelope(name, BATCH_BYTES // 2))
    broker.answers.put(None)
    assert broker.begun.get(timeout=LONG_S) == ["b", "c"]
    broker.answers.put(None)
    assert broker.begun.get(timeout=LONG_S) == ["d"]
    broker.answers.put(None)


def test_patience_ends_and_the_publish_may_still_arrive(broker: Broker, batches: Batches) -> None:
    seat = batches.join(envelope("a"))
    assert seat.cause(0.01) == NO_ANSWER
    broker.answers.put(None)
    assert seat.cause(LONG_S) is None


def test_a_bug_of_the_publish_reaches_each_that_waits_and_the_next_batch_goes_on(
    broker: Broker, batches: Batches
) -> None:
    seat = batches.join(envelope("a"))
    broker.answers.put(RuntimeError("bug"))
    with pytest.raises(RuntimeError, match="bug"):
        seat.cause(LONG_S)
    again = batches.join(envelope("b"))
    broker.answers.put(None)
    assert again.cause(LONG_S) is None


def test_a_seat_in_no_batch_says_why() -> None:
    assert Seat.of(envelope("a"), "open").cause(0) == "open"


def test_every_callback_of_many_threads_is_published_once() -> None:
    published: list[str] = []
    lock = threading.Lock()

    def publish(envelopes: Sequence[Envelope]) -> None:
        with lock:
            published.extend(each.trace_id for each in envelopes)

    batches = Batches(publish)
    names = [str(number) for number in range(2000)]
    with ThreadPoolExecutor(16) as threads:
        causes = list(threads.map(lambda name: batches.join(envelope(name)).cause(LONG_S), names))
    assert causes == [None] * len(names)
    assert sorted(published) == sorted(names)
