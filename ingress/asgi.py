"""The fast path: callbacks without Flask, on the same server; every other route is the Flask application.

Opt-in (``DEEDBOX_INGRESS=asgi``). The same ladder decides, the same hand-over stores, the same lines are logged; only
reading the request and waiting for the broker are done by an event loop instead of threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Final

from flask import Flask

from deedbox.ingress.app import RECEIVER
from deedbox.ingress.publish.handover import NotStored
from deedbox.ingress.publish.loop_batches import GroupCommit
from deedbox.ingress.publish.redis_pipe import RedisPipe
from deedbox.ingress.receive.ladder import Received, RefusedCallback
from deedbox.ingress.receive.receiver import (
    CUT_SHORT,
    LARGE_BYTES,
    HttpAnswer,
    Receiver,
    Verdict,
    Visit,
    not_stored,
    publishing,
    stored,
)
from deedbox.shared.core.reasons import Refusal
from deedbox.shared.runtime.front import RECEIVE_S, Front
from deedbox.shared.runtime.wsgi_call import Receive, Scope, Send, path_of
from deedbox.shared.settings import Settings

PATH: Final = "/callbacks"
_WANTED: Final = frozenset({b"content-type", b"content-sha256", b"traceparent", b"content-length"})


def in_front_of(
    app: Flask, settings: Settings, open_line: Callable[[], RedisPipe | None] | None = None
) -> Application:
    """Return the application that serves callbacks itself and hands everything else to the Flask application.

    ``open_line``: how the loop reaches the broker without a thread, if it can.
    """
    others = Front(app, settings.web_threads, settings.body_max_bytes)
    return Application(app.extensions[RECEIVER], others, settings.web_threads, open_line)


class _HungUp(Exception):
    """The sender went away, or took too long, before its request was whole."""


class Application:
    """An ASGI application: ``POST /callbacks[/<source>]`` here, everything else in ``others``."""

    def __init__(
        self,
        receiver: Receiver,
        others: Front,
        threads: int,
        open_line: Callable[[], RedisPipe | None] | None = None,
    ) -> None:
        """``threads``: for callbacks that the broker does not take."""
        self.extensions = others.extensions
        self._receiver = receiver
        self._others = others
        self._threads = threads
        self._open_line = open_line
        self._body_max_bytes = receiver.policy.body_max_bytes
        self._commit: GroupCommit | None = None
        # One thread: large bodies are judged one at a time, and never in the loop, where all others would wait.
        self._large = ThreadPoolExecutor(1, "deedbox-large")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or follow the life of the worker."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http" and (source := _source(path_of(scope))) is not None:
            await self._callback(source, scope, receive, send)
        else:
            await self._others(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        self._receiver.handover.start()
        await self._others({"type": "lifespan"}, receive, send)
        if self._commit is not None:
            self._commit.close()

    async def _callback(self, source: str, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"] if name in _WANTED}
        with self._receiver.visiting(source, headers.get(b"traceparent")) as visit:
            found: Verdict
            try:
                found = await self._decide(visit, str(scope["method"]), headers, receive)
            except Exception as error:  # noqa: BLE001 - a bug must not become a broken connection
                found = self._receiver.failed(visit, error)
            answer = self._receiver.finish(visit, found)
        await _send(send, answer)

    async def _decide(
        self, visit: Visit, method: str, headers: dict[bytes, str], receive: Receive
    ) -> Verdict:
        try:
            async with asyncio.timeout(RECEIVE_S):
                body = await self._body(headers, receive)
        except (_HungUp, TimeoutError):
            return RefusedCallback(Refusal.BAD_MULTIPART, CUT_SHORT)
        received = Received(
            source=visit.source,
            method=method,
            content_type=headers.get(b"content-type"),
            content_sha256=headers.get(b"content-sha256"),
            body=body,
        )
        if len(body or b"") > LARGE_BYTES:
            loop = asyncio.get_running_loop()
            verdict = await loop.run_in_executor(self._large, self._receiver.judge, received)
        else:
            verdict = self._receiver.judge(received)
        if isinstance(verdict, RefusedCallback):
            return verdict
        if self._commit is None:  # here, in the process and the loop that serve
            self._commit = GroupCommit(self._receiver.handover, self._threads, self._open_line)
        with publishing(visit, verdict) as envelope:
            try:
                return stored(verdict, await self._commit.store(envelope))
            except NotStored as error:
                return not_stored(verdict, error)

    async def _body(self, headers: dict[bytes, str], receive: Receive) -> bytes | None:
        """Read the body up to the limit; None for a larger one."""
        announced = headers.get(b"content-length", "")
        if announced.isdigit() and int(announced) > self._body_max_bytes:
            return None
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _HungUp
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self._body_max_bytes:
                return None
            if not message.get("more_body", False):
                return b"".join(parts) if len(parts) > 1 else parts[0]


def _source(path: str) -> str | None:
    """Return the source that a path names; None for a path of somebody else."""
    if path in {PATH, PATH + "/"}:
        return "default"
    if not path.startswith(PATH + "/"):
        return None
    name = path[len(PATH) + 1 :].removesuffix("/")
    return name if name and "/" not in name else None


@lru_cache(maxsize=4)
def _headers(answer: HttpAnswer) -> tuple[tuple[bytes, bytes], ...]:
    return (
        (b"content-type", answer.content_type.encode()),
        (b"content-length", str(len(answer.body)).encode()),
        *((name.lower().encode(), value.encode()) for name, value in answer.headers),
    )


async def _send(send: Send, answer: HttpAnswer) -> None:
    await send({"type": "http.response.start", "status": answer.status, "headers": _headers(answer)})
    await send({"type": "http.response.body", "body": answer.body})
