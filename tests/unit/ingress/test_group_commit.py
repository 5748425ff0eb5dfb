"""Group commit: what shares a publish, which way it goes, and that nothing is acknowledged that is durable nowhere."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from deedbox.ingress.publish import loop_batches
from deedbox.ingress.publish.handover import HEDGE_S, Handover, NotStored, Stored
from deedbox.ingress.publish.loop_batches import GroupCommit
from deedbox.ingress.publish.redis_pipe import LINE_BYTES, RedisPipe
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.errors import Unavailable
from deedbox.shared.core.signature import BodySignature
from tests.unit.ingress.wire import RememberingBroker, settings

PUBLISHED = Stored(spooled=False)


def envelope(number: int, size: int = 10) -> Envelope:
    return Envelope("default", float(number), BodySignature.VALID, f"{number:032x}", b"x" * size)


class FakeLine(RedisPipe):
    """A line to nobody: the test answers, breaks it, or stays silent."""

    def __init__(self) -> None:
        self._ours, self._theirs = socket.socketpair()
        self.fileno = self._ours.fileno()
        self.sent: list[list[Envelope]] = []
        self.answers = True
        self.refuses = False
        self.closed = False

    def send(self, envelopes: Sequence[Envelope]) -> None:
        if self.refuses:
            raise Unavailable("the broker did not take it (BrokenPipeError)")
        self.sent.append(list(envelopes))
        if self.answers:
            self.say(b"+")

    def say(self, what: bytes) -> None:
        """Answer: ``+`` has it, ``-`` is an error."""
        self._theirs.send(what)

    def hang_up(self) -> None:
        self._theirs.close()

    def answer(self) -> None:
        if self._ours.recv(1) != b"+":
            raise Unavailable("the broker did not confirm (ConnectionError)")

    def close(self) -> None:
        self.closed = True
        self._ours.close()
        self._theirs.close()


class SlowBroker(RememberingBroker):
    """Takes what it is given once the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.batches: list[int] = []

    def publish_many(self, envelopes: Sequence[Envelope]) -> None:
        self.batches.append(len(envelopes))
        assert self.gate.wait(10)
        super().publish_many(envelopes)


@contextmanager
def handing_over(broker: RememberingBroker, **env: str) -> Iterator[Handover]:
    handover = Handover(settings(**env), broker)
    try:
        yield handover
    finally:
        handover.close(0.0)


def committing(
    handover: Handover,
    test: Callable[[GroupCommit], Coroutine[Any, Any, None]],
    open_line: Callable[[], RedisPipe | None] | None = None,
) -> None:
    async def run() -> None:
        commit = GroupCommit(handover, 4, open_line)
        try:
            await test(commit)
        finally:
            commit.close()

    asyncio.run(run())


async def with_a_line(commit: GroupCommit) -> None:
    """Bring a commit to where it has a line: a first publish goes by the thread, and proves that the broker is well."""
    assert await commit.store(envelope(0)) == PUBLISHED
    await until(lambda: commit.has_line)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.001)


def test_callbacks_that_arrive_together_share_a_publish() -> None:
    broker = SlowBroker()
    broker.gate.set()

    async def test(commit: GroupCommit) -> None:
        assert await asyncio.gather(*(commit.store(envelope(n)) for n in range(20))) == [PUBLISHED] * 20

    with handing_over(broker) as handover:
        committing(handover, test)
    assert broker.batches == [20]
    assert [each.received_at for each in broker.published] == list(range(20))


def test_once_the_broker_is_known_to_be_well_batches_go_over_the_line() -> None:
    broker, line = RememberingBroker(), FakeLine()

    async def test(commit: GroupCommit) -> None:
        await with_a_line(commit)
        assert await asyncio.gather(*(commit.store(envelope(n)) for n in (1, 2, 3))) == [PUBLISHED] * 3
        assert await commit.store(envelope(4)) == PUBLISHED

    with handing_over(broker) as handover:
        committing(handover, test, lambda: line)
    assert [[each.received_at for each in batch] for batch in line.sent] == [[1, 2, 3], [4]]
    assert [each.received_at for each in broker.published] == [0]
    assert line.closed


def test_nothing_is_acknowledged_before_the_line_has_answered() -> None:
    line = FakeLine()
    line.answers = False

    async def test(commit: GroupCommit) -> None:
        await with_a_line(commit)
        first = asyncio.ensure_future(commit.store(envelope(1)))
        await asyncio.sleep(0.02)
        assert line.sent
        assert not first.done()
        line.say(b"+")
        assert await first == PUBLISHED

    with handing_over(RememberingBroker()) as handover:
        committing(handover, test, lambda: line)


@pytest.mark.parametrize("breaks", ["refuses", "error", "hangs up"])
def test_what_a_broken_line_did_not_confirm_goes_by_the_thread(breaks: str) -> None:
    broker, line = RememberingBroker(), FakeLine()

    async def test(commit: GroupCommit) -> None:
        await with_a_line(commit)
        line.answers = False
        line.refuses = breaks == "refuses"
        storing = asyncio.ensure_future(commit.store(envelope(1)))
        await asyncio.sleep(0.01)
        if breaks == "error":
            line.say(b"-")
        elif breaks == "hangs up":
            line.hang_up()
        assert await storing == PUBLISHED
        assert not commit.has_line

    with handing_over(broker) as handover:
        committing(handover, test, lambda: line)
    assert [each.received_at for each in broker.published] == [0, 1]
    assert line.closed


def test_a_line_that_is_cut_while_nobody_waits_is_put_away() -> None:
    line = FakeLine()

    async def test(commit: GroupCommit) -> None:
        await with_a_line(commit)
        line.hang_up()
        await until(lambda: not commit.has_line)
        assert await commit.store(envelope(1)) == PUBLISHED

    with handing_over(RememberingBroker()) as handover:
        committing(handover, test, lambda: line)
    assert not line.sent


def test_a_callback_too_large_for_the_line_goes_by_the_thread() -> None:
    broker, line = RememberingBroker(), FakeLine()

    async def test(commit: GroupCommit) -> None:
        await with_a_line(commit)
        assert await commit.store(envelope(1, LINE_BYTES)) == PUBLISHED
        small = [commit.store(envelope(n, LINE_BYTES // 8)) for n in range(2, 12)]
        assert await asyncio.gather(*small) == [PUBLISHED] * 10

    with handing_over(broker) as handover:
        committing(handover, test, lambda: line)
    assert [each.received_at for each in broker.published] == [0, 1]
    assert [each.received_at for batch in line.sent for each in batch] == list(range(2, 12))
    assert all(sum(len(each.body) for each in batch) <= LINE_BYTES for batch in line.sent)


def test_where_no_line_can_be_had_none_is_asked_for_again() -> None:
    asked: list[int] = []

    def none() -> None:
        asked.append(1)

    async def test(commit: GroupCommit) -> None:
        for number in range(5):
            assert await commit.store(envelope(number)) == PUBLISHED
            await asyncio.sleep(0.01)

    with handing_over(RememberingBroker()) as handover:
        committing(handover, test, none)
    assert asked == [1]


@pytest.mark.parametrize("by", ["line", "thread"])
def test_a_silent_broker_is_left_behind_for_the_spool(tmp_path: Path, by: str) -> None:
    broker, line = SlowBroker(), FakeLine()
    broker.gate.set()

    async def test(commit: GroupCommit) -> None:
        await with_a_line(commit)
        if by == "line":
            line.answers = False
        else:
            line.hang_up()
            await asyncio.sleep(0.05)
            broker.gate.clear()
        first = asyncio.ensure_future(commit.store(envelope(1)))
        await asyncio.sleep(0.02)
        behind = asyncio.ensure_future(commit.store(envelope(2)))
        assert (await first).spooled
        assert (await behind).spooled
        # Nor does whoever comes while it is still silent wait for it.
        assert (await commit.store(envelope(3))).spooled
        broker.gate.set()

    with handing_over(broker, DEEDBOX_SPOOL="on", DEEDBOX_DATA_DIR=str(tmp_path)) as handover:
        committing(handover, test, lambda: line)


async def one_behind_a_slow_publish(commit: GroupCommit) -> list[asyncio.Future[Stored]]:
    """Store two callbacks, the second while the publish of the first takes longer than they are promised."""
    first = asyncio.ensure_future(commit.store(envelope(1)))
    await asyncio.sleep(0.02)
    behind = asyncio.ensure_future(commit.store(envelope(2)))
    await asyncio.sleep(HEDGE_S + 0.05)
    return [first, behind]


def test_without_a_spool_a_slow_broker_is_waited_for() -> None:
    """Those behind the slow publish too: that it succeeds does not make them durable, their own publish does."""
    broker = SlowBroker()

    async def test(commit: GroupCommit) -> None:
        first, behind = await one_behind_a_slow_publish(commit)
        assert not first.done()
        assert not behind.done()
        broker.gate.set()
        assert await first == await behind == PUBLISHED

    with handing_over(broker) as handover:
        committing(handover, test)
    assert [each.received_at for each in broker.published] == [1, 2]


def test_without_a_spool_a_silent_line_means_that_nothing_was_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_batches, "REDIS_TIMEOUT_S", 0.15)
    line = FakeLine()

    async def test(commit: GroupCommit) -> None:
        await with_a_line(commit)
        line.answers = False
        with pytest.raises(NotStored, match="did not take"):
            await commit.store(envelope(1))
        assert not commit.has_line

    with handing_over(RememberingBroker()) as handover:
        committing(handover, test, lambda: line)


def test_a_full_spool_does_not_make_a_callback_durable_that_only_waited_behind_a_publish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was acknowledged once the publish before it succeeded, which did not hold it."""
    from deedbox.ingress.spool.writer import NotSpooled, Spool
    from deedbox.shared.core.reasons import Refusal

    def full(*_: object) -> None:
        raise NotSpooled(Refusal.SPOOL_FULL, "the spool is full")

    monkeypatch.setattr(Spool, "append", full)
    broker = SlowBroker()

    async def test(commit: GroupCommit) -> None:
        first, behind = await one_behind_a_slow_publish(commit)
        broker.gate.set()
        assert await first == PUBLISHED
        with pytest.raises(NotStored):
            await behind

    with handing_over(broker, DEEDBOX_SPOOL="on", DEEDBOX_DATA_DIR=str(tmp_path)) as handover:
        committing(handover, test)
    assert [each.received_at for each in broker.published] == [1]
