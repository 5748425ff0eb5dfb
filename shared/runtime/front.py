"""An ASGI application that reads each request whole and then calls a WSGI application in a small pool of threads.

A slow sender costs no thread: the event loop waits for it, bounded in time and in memory. A request that never became
whole reaches the application too, cut short, so that there is one place that answers and counts.
"""

from __future__ import annotations

import asyncio
import ctypes
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Final, TypeVar

from deedbox.shared.runtime import logs, memory
from deedbox.shared.runtime.wsgi_call import Later, Receive, Scope, Send, WsgiCall, WsgiReply, environ_of

RECEIVE_S: Final = 15.0
"""Seconds for a request to arrive. A callback is some kilobytes; Dropbox Sign itself waits 25 s for the answer, and ours
takes 2 s at most once the request is there."""

LOOK_EVERY_S: Final = 1.0
"""So often it looks for requests that take longer."""

HELD_BYTES: Final = 64 * 1024 * 1024
"""Bodies in memory at a time. Beyond it, the largest request that has not arrived whole yet is cut short."""

_M_ARENA_MAX: Final = -8
"""Number of this option of glibc's ``mallopt``."""

_Got = TypeVar("_Got")

log = logs.get("server")


class _Arriving:
    """A request that is not whole yet."""

    __slots__ = ("deadline", "since", "size")

    def __init__(self, now: float) -> None:
        # Without an end: a timer for each request costs more than a look at those that are late.
        self.deadline = asyncio.timeout(None)
        self.since = now
        self.size = 0

    def cut_off(self, now: float) -> None:
        """Wait no longer for it. Times are the loop's."""
        if not self.deadline.expired():
            self.deadline.reschedule(now)


class Front:
    """Serves one WSGI application."""

    def __init__(
        self,
        app: Callable[..., Iterable[bytes]],
        threads: int,
        body_max_bytes: int,
        is_quick: Callable[[Scope, bytes], bool] = lambda _scope, _body: False,
    ) -> None:
        """``body_max_bytes``: what is read at most; the application has to refuse what is larger.

        ``is_quick``: whether the loop itself may call the application for a request, because that computes for less
        than a millisecond, waits for nothing (see ``Later``), and answers shortly.
        """
        self.app = app
        self.extensions: dict[str, Any] = getattr(app, "extensions", {})
        self._threads = threads
        self._body_max_bytes = body_max_bytes
        self._is_quick = is_quick
        self._arriving: set[_Arriving] = set()
        self._held_bytes = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ident = 0
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._due: deque[Callable[[], None]] = deque()
        self._is_woken = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or follow the life of the worker."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:
            await send({"type": "websocket.close"})

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self._begun()
        memory.settle()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    def _begun(self) -> asyncio.AbstractEventLoop:
        """Return the loop; start the threads if they do not run yet."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._ident = threading.get_ident()
            _share_memory()
            self._cut_off_late()
            for number in range(self._threads):
                threading.Thread(target=self._work, name=f"request-{number}", daemon=True).start()
        return self._loop

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        arriving = _Arriving(self._begun().time())
        self._arriving.add(arriving)
        try:
            body, whole = await self._body(arriving, scope, receive)
            self._arriving.discard(arriving)
            environ = environ_of(scope, body, whole=whole)
            call = WsgiCall(self.app, environ, receive, send, self._begun())
            try:
                reply = call.run() if self._is_quick(scope, body) else await self._lent(call.run)
            finally:
                call.close()
            if isinstance(reply, Later):
                reply = await self._awaited(reply)
        finally:
            self._arriving.discard(arriving)
            self._held_bytes -= arriving.size
        if reply is not None:
            await reply.send(send)

    async def _awaited(self, later: Later) -> WsgiReply:
        """Wait until an answer is known, first without a thread."""
        over = self._begun().create_future()
        timer = over.get_loop().call_later(later.patience_s, _end, over)
        later.when_over(lambda: self._soon(lambda: _end(over)))
        try:
            await over
        except asyncio.CancelledError:  # the client has left; what it has sent is dealt with all the same
            self._lent(later.reply)
            raise
        finally:
            timer.cancel()
        return later.reply() if later.is_quick() else await self._lent(later.reply)

    def _lent(self, ask: Callable[[], _Got]) -> asyncio.Future[_Got]:
        """Call something in a thread."""
        got: asyncio.Future[_Got] = self._begun().create_future()

        def run() -> None:
            try:
                reply = ask()
            except BaseException as error:  # noqa: BLE001 - raised again in the loop
                failed = error
                self._soon(lambda: None if got.done() else got.set_exception(failed))
            else:
                self._soon(lambda: None if got.done() else got.set_result(reply))

        self._calls.put(run)
        return got

    async def _body(self, arriving: _Arriving, scope: Scope, receive: Receive) -> tuple[bytes, bool]:
        """Return what has come of the body, and whether the application needs no more."""
        if _announced(scope) > self._body_max_bytes:
            return b"", True  # it is refused for what it announces
        parts: list[bytes] = []
        try:
            async with arriving.deadline:
                while (message := await receive())["type"] != "http.disconnect":
                    part = message.get("body", b"")
                    parts.append(part)
                    arriving.size += len(part)
                    self._held_bytes += len(part)
                    if not message.get("more_body", False) or arriving.size > self._body_max_bytes:
                        return b"".join(parts) if len(parts) > 1 else part, True
                    self._make_room()
        except TimeoutError:
            log.warning("request.cut_off", after_s=RECEIVE_S)
        return b"".join(parts), False

    def _make_room(self) -> None:
        if self._held_bytes > HELD_BYTES:
            largest = max(self._arriving, key=lambda each: each.size)
            largest.cut_off(self._begun().time())

    def _cut_off_late(self) -> None:
        loop = self._begun()
        for each in self._arriving:
            if each.since < loop.time() - RECEIVE_S:
                each.cut_off(loop.time())
        loop.call_later(LOOK_EVERY_S, self._cut_off_late)

    def _work(self) -> None:
        """Run calls. One of the threads."""
        while True:
            self._calls.get()()

    def _soon(self, what: Callable[[], None]) -> None:
        """Call something in the loop, which is woken once for all that comes meanwhile; at once, if this is the loop."""
        if threading.get_ident() == self._ident:
            what()
            return
        self._due.append(what)
        if not self._is_woken and self._loop is not None:
            self._is_woken = True
            with suppress(RuntimeError):  # it has ended, and with it everybody who waited
                self._loop.call_soon_threadsafe(self._catch_up)

    def _catch_up(self) -> None:
        self._is_woken = False  # before it looks: what comes now wakes it again
        while self._due:
            self._due.popleft()()


def _end(over: asyncio.Future[None]) -> None:
    if not over.done():
        over.set_result(None)


def _share_memory() -> None:
    """Let all threads allocate from two arenas: what a large body leaves in one of their own serves no other thread."""
    with suppress(AttributeError, OSError):  # glibc has it
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


def _announced(scope: Scope) -> int:
    """Return the announced length of the body, in bytes."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0
