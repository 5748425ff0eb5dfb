"""What callbacks wait for holds no thread of the server, and each is durable by its own publish or by the spool."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from deedbox.ingress.app import EXTENSION, create_app
from deedbox.ingress.publish.handover import HEDGE_S, Handover, NotStored, Stored
from deedbox.ingress.server import served_by_loop
from deedbox.ingress.spool.writer import NotSpooled, Spool
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.reasons import Refusal
from deedbox.shared.core.signature import BodySignature
from deedbox.shared.runtime.front import Front
from tests.unit.ingress.wire import MULTIPART, RememberingBroker, callback, multipart, settings
from tests.unit.logging_to import logging_to

ACK = b"Hello API Event Received"


class SlowBroker(RememberingBroker):
    """Takes what it is given once the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()

    def publish_many(self, envelopes: Sequence[Envelope]) -> None:
        assert self.gate.wait(10)
        super().publish_many(envelopes)


@contextmanager
def front_of(broker: RememberingBroker, **env: str) -> Iterator[Front]:
    """Serve with one thread for everything."""
    found = settings(DEEDBOX_WEB_THREADS="1", **env)
    app = create_app(found, broker)
    try:
        yield served_by_loop(app, found)
    finally:
        app.extensions[EXTENSION].close(0.0)


async def ask(front: Front, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    """Send a request. Returns status and body of the answer."""
    scope: dict[str, Any] = {
        "type": "http", "method": method, "path": path, "query_string": b"", "http_version": "1.1", "scheme": "http",
        "headers": [(b"content-type", MULTIPART.encode()), (b"content-length", str(len(body)).encode())],
    }  # fmt: skip
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    async def send(message: Any) -> None:
        sent.append(message)

    await front(scope, receive, send)
    return sent[0]["status"], b"".join(each.get("body", b"") for each in sent[1:])


def in_a_loop(run: Coroutine[Any, Any, None]) -> None:
    """Run it in a thread: this one may have a loop that runs, of a browser test before."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, run).result()


def a_callback() -> bytes:
    return multipart(callback())


def test_callbacks_that_wait_for_the_broker_leave_the_thread_to_others() -> None:
    broker = SlowBroker()

    async def run(front: Front) -> None:
        waiting = [asyncio.ensure_future(ask(front, "POST", "/callbacks", a_callback())) for _ in range(20)]
        async with asyncio.timeout(HEDGE_S * 10):
            assert (await ask(front, "GET", "/healthz"))[0] == 200
        assert not any(each.done() for each in waiting)
        broker.gate.set()
        assert await asyncio.gather(*waiting) == [(200, ACK)] * 20

    with front_of(broker, DEEDBOX_SPOOL="off") as front:
        in_a_loop(run(front))
    assert len(broker.published) == 20


def test_behind_a_silent_broker_they_are_spooled_and_acknowledged(tmp_path: Path) -> None:
    broker = SlowBroker()

    async def run(front: Front) -> None:
        asked = [ask(front, "POST", "/callbacks", a_callback()) for _ in range(5)]
        assert await asyncio.gather(*asked) == [(200, ACK)] * 5

    with front_of(broker, DEEDBOX_SPOOL="on", DEEDBOX_DATA_DIR=str(tmp_path)) as front:
        in_a_loop(run(front))
        assert not broker.published
        broker.gate.set()


def test_a_sender_who_leaves_meanwhile_is_counted_all_the_same() -> None:
    broker = SlowBroker()

    async def run(front: Front) -> None:
        asked = asyncio.ensure_future(ask(front, "POST", "/callbacks", a_callback()))
        await asyncio.sleep(0.02)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        broker.gate.set()
        async with asyncio.timeout(10):
            while "event.received" not in written.getvalue():  # noqa: ASYNC110 - nobody tells of it
                await asyncio.sleep(0.01)

    written = StringIO()
    with logging_to(written), front_of(broker, DEEDBOX_SPOOL="off") as front:
        in_a_loop(run(front))
    assert '"outcome":"accepted"' in written.getvalue()


def envelope(number: int) -> Envelope:
    return Envelope("default", float(number), BodySignature.VALID, f"{number:032x}", b"x")


def test_a_full_spool_does_not_make_durable_what_only_waited_behind_a_publish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise NotSpooled(Refusal.SPOOL_FULL, "the spool is full")

    class TakesOne(SlowBroker):
        def publish_many(self, envelopes: Sequence[Envelope]) -> None:
            super().publish_many(envelopes)
            self.gate.clear()

    monkeypatch.setattr(Spool, "append", full)
    broker = TakesOne()
    handover = Handover(settings(DEEDBOX_SPOOL="on", DEEDBOX_DATA_DIR=str(tmp_path)), broker)
    try:
        first = handover.begin(envelope(1))
        while handover._batches._waiting.qsize():
            pass
        behind = handover.begin(envelope(2))
        opening = threading.Timer(HEDGE_S * 2, broker.gate.set)
        opening.start()
        assert first.wait() == Stored(spooled=False)
        with pytest.raises(NotStored):
            behind.wait()
        assert not behind.is_published
    finally:
        handover.close(0.0)
        broker.gate.set()
    assert [each.received_at for each in broker.published][:1] == [1]
