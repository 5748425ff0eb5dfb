"""Callbacks that are handed over together: what the broker does not take in time is spooled, each by itself."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deedbox.ingress.publish.handover import Handover, NotStored
from deedbox.shared.broker.errors import RefusedForCause
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.errors import Unavailable
from deedbox.shared.settings import Settings
from tests.component.ingress.conftest import wait_until
from tests.component.ingress.spooling import number_of, numbered

THREADS = 8


class Redislike:
    """A broker in memory that takes many at once, after it has waited for the gate."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.failure: Exception | None = None
        self.batches: list[list[int]] = []

    def ping(self) -> None:
        """Answer."""
        if self.failure is not None:
            raise Unavailable("down")

    def publish(self, envelope: Envelope) -> None:
        self.publish_many([envelope])

    def publish_many(self, envelopes: Sequence[Envelope]) -> None:
        self.batches.append([number_of(envelope) for envelope in envelopes])
        self.gate.wait(30)
        if self.failure is not None:
            raise self.failure

    def numbers(self) -> list[int]:
        return sorted(number for batch in self.batches for number in batch)


@pytest.fixture
def broker() -> Redislike:
    return Redislike()


@pytest.fixture
def handover(tmp_path: Path, broker: Redislike) -> Iterator[Handover]:
    settings = Settings.load({"DEEDBOX_DATA_DIR": str(tmp_path), "DEEDBOX_WEB_THREADS": str(THREADS)})
    found = Handover(settings, broker)
    yield found
    broker.gate.set()
    found.close()


def store_all(handover: Handover, numbers: Sequence[int]) -> list[bool]:
    """Store from as many threads; return for each whether it was spooled."""
    with ThreadPoolExecutor(len(numbers)) as threads:
        return [
            stored.spooled for stored in threads.map(lambda number: handover.store(numbered(number)), numbers)
        ]


def test_what_comes_together_is_published_together(handover: Handover, broker: Redislike) -> None:
    for first in range(0, 200, THREADS):
        store_all(handover, range(first, first + THREADS))
    # What took long meanwhile came from the spool, or twice.
    wait_until(lambda: set(broker.numbers()) == set(range(200)))
    assert len(broker.batches) < 200


def test_a_silent_broker_sends_all_that_share_a_publish_to_the_spool(
    handover: Handover, broker: Redislike
) -> None:
    broker.gate.clear()
    assert store_all(handover, range(THREADS)) == [True] * THREADS
    broker.gate.set()
    wait_until(lambda: set(broker.numbers()) == set(range(THREADS)))


def test_a_batch_that_fails_is_spooled_callback_by_callback(handover: Handover, broker: Redislike) -> None:
    broker.failure = Unavailable("the broker did not confirm (test)")
    assert store_all(handover, range(THREADS)) == [True] * THREADS
    taken, broker.failure = len(broker.batches), None
    wait_until(lambda: {n for batch in broker.batches[taken:] for n in batch} == set(range(THREADS)))


def test_a_batch_that_is_refused_for_cause_is_spooled_and_the_breaker_stays_closed(
    handover: Handover, broker: Redislike
) -> None:
    broker.failure = RefusedForCause("the broker refuses this callback (test)")
    for _ in range(5):
        assert store_all(handover, range(3)) == [True] * 3
    broker.failure = None
    assert not handover.store(numbered(9)).spooled


def test_a_bug_in_a_publish_reaches_whoever_shares_it(handover: Handover, broker: Redislike) -> None:
    broker.failure = KeyError("bug")
    with ThreadPoolExecutor(THREADS) as threads:
        asked = [threads.submit(handover.store, numbered(number)) for number in range(THREADS)]
    assert {type(each.exception()) for each in asked} == {KeyError}
    broker.failure = None
    assert not handover.store(numbered(9)).spooled


def test_without_a_spool_a_broker_that_is_back_takes_batches_again(tmp_path: Path, broker: Redislike) -> None:
    """Nobody probes the broker where no spool is drained, so no breaker may stay open there."""
    handover = Handover(
        Settings.load({"DEEDBOX_DATA_DIR": str(tmp_path / "none"), "DEEDBOX_SPOOL": "off"}), broker
    )
    broker.failure = Unavailable("the broker did not confirm (test)")
    for number in range(5):
        with pytest.raises(NotStored):
            handover.store(numbered(number))
    broker.failure = None
    assert not handover.store(numbered(7)).spooled
    handover.close()
