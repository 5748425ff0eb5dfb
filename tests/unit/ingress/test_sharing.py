"""Threads that publish at the same moment share one publish, and none of them is lost or left waiting."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from deedbox.ingress.publish.thread_batches import BATCH_BYTES, NO_ANSWER, Ended, Sharing
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.signature import BodySignature

LONG_S = 30.0
"""Nobody waits for so long unless a test fails."""


def envelope(name: str, size_bytes: int = 1) -> Envelope:
    return Envelope("default", 1.5, BodySignature.ABSENT, name, b"x" * size_bytes)


class Broker:
    """Publishes batches when it is told to: ``begin`` only notes them."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self._ended: list[Ended] = []

    def begin(self, envelopes: Sequence[Envelope], ended: Ended) -> None:
        self.batches.append([each.trace_id for each in envelopes])
        self._ended.append(ended)

    def answer(self, cause: str | None = None, error: BaseException | None = None) -> None:
        self._ended[-1](cause, error)


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def sharing(broker: Broker) -> Sharing:
    return Sharing(broker.begin)


def test_a_callback_that_is_alone_is_published_at_once(broker: Broker, sharing: Sharing) -> None:
    seat = sharing.join(envelope("a"))
    assert broker.batches == [["a"]]
    broker.answer()
    assert seat.cause(LONG_S) is None


def test_those_that_come_during_a_publish_share_the_next(broker: Broker, sharing: Sharing) -> None:
    first, *others = [sharing.join(envelope(name)) for name in "abcd"]
    broker.answer()
    assert first.cause(LONG_S) is None
    assert broker.batches == [["a"]]
    with ThreadPoolExecutor(3) as threads:
        asked = [threads.submit(seat.cause, LONG_S) for seat in others]
        while len(broker.batches) < 2:
            pass
        assert broker.batches[1] == ["b", "c", "d"]
        assert not any(each.done() for each in asked)
        broker.answer()
        assert [each.result() for each in asked] == [None] * 3


def test_nobody_is_told_yes_before_the_broker_has_answered_for_it(broker: Broker, sharing: Sharing) -> None:
    first, second = sharing.join(envelope("a")), sharing.join(envelope("b"))
    assert first.cause(0) == NO_ANSWER
    broker.answer()
    assert first.cause(0) is None
    assert second.cause(0) == NO_ANSWER  # it published itself, and waits
    broker.answer()
    assert second.cause(0) is None


def test_each_gets_the_outcome_of_its_own_batch(broker: Broker, sharing: Sharing) -> None:
    first, second = sharing.join(envelope("a")), sharing.join(envelope("b"))
    broker.answer("the broker is down")
    assert first.cause(LONG_S) == "the broker is down"
    assert second.cause(0) == NO_ANSWER
    broker.answer()
    assert second.cause(LONG_S) is None


def test_a_bug_is_raised_for_each_of_its_batch_and_the_next_goes_on(broker: Broker, sharing: Sharing) -> None:
    first = sharing.join(envelope("a"))
    second, third = sharing.join(envelope("b")), sharing.join(envelope("c"))
    broker.answer()
    assert first.cause(0) is None
    assert second.cause(0) == third.cause(0) == NO_ANSWER
    fourth = sharing.join(envelope("d"))
    broker.answer(error=KeyError("bug"))
    for seat in (second, third):
        with pytest.raises(KeyError):
            seat.cause(LONG_S)
    assert fourth.cause(0) == NO_ANSWER
    broker.answer()
    assert fourth.cause(LONG_S) is None


def test_a_publish_that_cannot_even_begin_strands_nobody() -> None:
    begun: list[Sequence[Envelope]] = []

    def begin(envelopes: Sequence[Envelope], ended: Ended) -> None:
        begun.append(envelopes)
        if len(begun) == 1:
            raise RuntimeError("can't start new thread")
        ended(None, None)

    sharing = Sharing(begin)
    failed = sharing.join(envelope("a"))
    with pytest.raises(RuntimeError):
        failed.cause(LONG_S)
    assert sharing.join(envelope("b")).cause(LONG_S) is None


def test_who_waits_in_vain_leaves_and_is_not_published_any_more(broker: Broker, sharing: Sharing) -> None:
    first, second, third = [sharing.join(envelope(name)) for name in "abc"]
    assert second.cause(0) == NO_ANSWER
    broker.answer()
    assert first.cause(0) is None
    assert third.cause(0) == NO_ANSWER
    assert broker.batches == [["a"], ["c"]]
    assert second.cause(LONG_S) == NO_ANSWER


def test_who_leaves_when_it_is_its_turn_to_publish_hands_that_on(broker: Broker, sharing: Sharing) -> None:
    first, second, third = [sharing.join(envelope(name)) for name in "abc"]
    broker.answer()
    assert first.cause(0) is None
    assert second.leads
    assert sharing.leave(second) == NO_ANSWER
    assert third.cause(0) == NO_ANSWER
    assert broker.batches == [["a"], ["c"]]
    broker.answer()
    assert third.cause(LONG_S) is None


def test_the_last_to_leave_frees_the_way(broker: Broker, sharing: Sharing) -> None:
    first, second = sharing.join(envelope("a")), sharing.join(envelope("b"))
    broker.answer()
    assert first.cause(0) is None
    assert sharing.leave(second) == NO_ANSWER
    sharing.join(envelope("c"))
    assert broker.batches == [["a"], ["c"]]


def test_who_leaves_as_the_answer_comes_gets_the_answer(broker: Broker, sharing: Sharing) -> None:
    seat = sharing.join(envelope("a"))
    broker.answer("the broker is down")
    assert sharing.leave(seat) == "the broker is down"


def test_a_batch_has_its_limit_in_bytes(broker: Broker, sharing: Sharing) -> None:
    sharing.join(envelope("a"))
    second = sharing.join(envelope("b", BATCH_BYTES - 1))
    third, fourth = sharing.join(envelope("c", BATCH_BYTES)), sharing.join(envelope("d"))
    broker.answer()
    assert second.cause(0) == NO_ANSWER
    broker.answer()
    assert third.cause(LONG_S) is None
    assert fourth.cause(0) == NO_ANSWER
    assert broker.batches == [["a"], ["b", "c"], ["d"]]


def test_many_threads_lose_nothing_and_one_publishes_at_a_time() -> None:
    published: list[str] = []
    busy, lock = threading.Lock(), threading.Lock()

    def begin(envelopes: Sequence[Envelope], ended: Ended) -> None:
        assert busy.acquire(blocking=False)
        with lock:
            published.extend(each.trace_id for each in envelopes)
            odd = len(published) % 7 == 0
        busy.release()
        ended("unlucky" if odd else None, None)

    sharing = Sharing(begin)

    def store(number: int) -> str | None:
        return sharing.join(envelope(str(number))).cause(LONG_S)

    with ThreadPoolExecutor(16) as threads:
        causes = list(threads.map(store, range(3000)))
    assert set(causes) <= {None, "unlucky"}
    assert sorted(published, key=int) == [str(number) for number in range(3000)]
