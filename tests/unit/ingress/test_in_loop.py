"""An event loop publishes what it receives itself, and hands to the thread whatever it cannot without a wait."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Queue

import pytest

from deedbox.ingress.publish import in_loop
from deedbox.ingress.publish.batches import NO_ANSWER, Batches, Seat
from deedbox.ingress.publish.circuit import Circuit
from deedbox.ingress.publish.in_loop import BATCH_BYTES, LoopBatches
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.errors import Unavailable
from tests.unit.ingress.test_batches import LONG_S, envelope


class WireLine:
    """A line whose other end the test holds; one byte is an answer."""

    def __init__(self) -> None:
        self.far, self._near = socket.socketpair()
        self._near.setblocking(False)
        self.descriptor = self._near.fileno()
        self.sent: list[list[str]] = []

    def send(self, envelopes: Sequence[Envelope]) -> None:
        self.sent.append([each.trace_id for each in envelopes])

    def is_answered(self) -> bool:
        try:
            found = self._near.recv(1)
        except BlockingIOError:
            return False
        if not found:
            raise ConnectionError
        return True

    def close(self) -> None:
        self._near.close()

    @property
    def descriptor_is_closed(self) -> bool:
        return self._near.fileno() == -1


class Broker:
    """Opens one line after the other, and notes what the thread publishes."""

    def __init__(self) -> None:
        self.lines: list[WireLine] = []
        self.by_thread: Queue[list[str]] = Queue()
        self.failures = 0
        self.refuses = False

    def line(self) -> WireLine:
        if self.refuses:
            raise Unavailable("down")
        self.lines.append(WireLine())
        return self.lines[-1]

    def publish(self, envelopes: Sequence[Envelope]) -> str | None:
        self.by_thread.put([each.trace_id for each in envelopes])
        return None

    def failed(self) -> None:
        self.failures += 1


Story = Callable[[LoopBatches, Broker, Circuit], Awaitable[None]]


def play(story: Story) -> None:
    """Run a story in an event loop of its own, in a thread: another one may run in this."""

    async def begin() -> None:
        broker, circuit = Broker(), Circuit()
        batches = LoopBatches(
            asyncio.get_running_loop(), broker, circuit, Batches(broker.publish), broker.failed
        )
        await asyncio.wait_for(story(batches, broker, circuit), LONG_S)

    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, begin()).result()


async def until(what: Callable[[], bool]) -> None:
    while not what():  # noqa: ASYNC110 - some of it happens in threads
        await asyncio.sleep(0.001)


async def opened(batches: LoopBatches, broker: Broker) -> WireLine:
    """Join until there is a line: until then the thread publishes."""
    seats: list[Seat] = []
    known = len(broker.lines)
    while len(broker.lines) == known or not broker.lines[-1].sent:
        seats.append(batches.join(envelope("before")))
        await asyncio.sleep(0.001)
    broker.lines[-1].far.send(b"+")
    await until(lambda: all(seat.is_over for seat in seats))
    while not broker.by_thread.empty():
        broker.by_thread.get()
    broker.lines[-1].sent.clear()
    return broker.lines[-1]


def test_those_that_come_while_a_batch_is_under_way_share_the_next() -> None:
    async def story(batches: LoopBatches, broker: Broker, _circuit: Circuit) -> None:
        line = await opened(batches, broker)
        seats = [batches.join(envelope(name)) for name in "abc"]
        assert line.sent == [["a"]]
        assert not any(seat.is_over for seat in seats)
        line.far.send(b"+")
        await until(lambda: seats[0].is_over)
        assert line.sent == [["a"], ["b", "c"]]
        assert not seats[1].is_over
        line.far.send(b"+")
        await until(lambda: seats[1].is_over and seats[2].is_over)
        assert [seat.ended for seat in seats] == [None] * 3
        assert broker.by_thread.empty()

    play(story)


def test_a_large_envelope_is_for_the_thread() -> None:
    async def story(batches: LoopBatches, broker: Broker, _circuit: Circuit) -> None:
        line = await opened(batches, broker)
        seat = batches.join(envelope("large", BATCH_BYTES + 1))
        await until(lambda: seat.is_over)
        assert line.sent == []
        assert broker.by_thread.get(timeout=LONG_S) == ["large"]

    play(story)


def test_what_was_on_a_line_that_broke_is_published_by_the_thread_and_another_line_opened() -> None:
    async def story(batches: LoopBatches, broker: Broker, circuit: Circuit) -> None:
        line = await opened(batches, broker)
        seats = [batches.join(envelope(name)) for name in "ab"]
        line.far.close()
        await until(lambda: all(seat.is_over for seat in seats))
        assert [seat.ended for seat in seats] == [None, None]
        found = broker.by_thread.get(timeout=LONG_S)
        while len(found) < len(seats):
            found += broker.by_thread.get(timeout=LONG_S)
        assert found == ["a", "b"]
        assert circuit.is_closed
        assert await opened(batches, broker) is not line

    play(story)


def test_a_line_that_breaks_while_nothing_is_under_way_costs_no_callback() -> None:
    async def story(batches: LoopBatches, broker: Broker, _circuit: Circuit) -> None:
        line = await opened(batches, broker)
        line.far.close()
        await until(lambda: line.descriptor_is_closed)
        seat = batches.join(envelope("a"))
        await until(lambda: seat.is_over)
        assert seat.ended is None

    play(story)


def test_a_broker_that_does_not_answer_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(batches: LoopBatches, broker: Broker, circuit: Circuit) -> None:
        line = await opened(batches, broker)
        monkeypatch.setattr(in_loop, "ANSWER_S", 0.02)
        seats = [batches.join(envelope(name)) for name in "ab"]
        await until(lambda: all(seat.is_over for seat in seats))
        assert [seat.ended for seat in seats] == [
            NO_ANSWER,
            None,
        ]  # the thread asks once more for what waited
        assert broker.by_thread.get(timeout=LONG_S) == ["b"]
        assert broker.failures == 1
        assert line.descriptor_is_closed
        assert circuit.admits()

    play(story)


def test_a_batch_under_way_for_long_stops_the_breaker_from_admitting_more() -> None:
    async def story(batches: LoopBatches, broker: Broker, circuit: Circuit) -> None:
        line = await opened(batches, broker)
        batches.join(envelope("a"))
        await until(lambda: not circuit.admits())
        line.far.send(b"+")
        await until(circuit.admits)

    play(story)


def test_a_busy_loop_reads_the_answer_between_two_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_loop, "LOOK_AFTER_S", -1.0)

    async def story(batches: LoopBatches, broker: Broker, _circuit: Circuit) -> None:
        line = await opened(batches, broker)
        seat = batches.join(envelope("a"))
        line.far.send(b"+")
        batches.look()  # no turn of the loop in between
        assert seat.is_over
        assert seat.ended is None

    play(story)


def test_while_no_line_can_be_opened_the_thread_publishes() -> None:
    async def story(batches: LoopBatches, broker: Broker, _circuit: Circuit) -> None:
        broker.refuses = True
        for name in "abc":
            seat = batches.join(envelope(name))
            await until(lambda seat=seat: seat.is_over)  # type: ignore[misc]
            assert broker.by_thread.get(timeout=LONG_S) == [name]
        broker.refuses = False
        await opened(batches, broker)

    play(story)
