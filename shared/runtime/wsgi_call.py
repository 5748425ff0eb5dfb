"""A call of a WSGI application in a thread, for a request that an ASGI server has read whole."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import lru_cache
from io import BytesIO
from typing import Any, Final

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Environ = dict[str, Any]

WHOLE_BYTES: Final = 64 * 1024
"""Answers up to this size leave in one piece; longer ones, and those of unknown length, as the application makes them."""

STALL_S: Final = 30.0
"""A client that takes nothing of its answer for so long is given up; the thread would wait for ever."""

CLIENT_GONE: Final = "deedbox.client_gone"
"""Where the environment has a function that tells whether the client has left."""

LATER: Final = "deedbox.later"
"""Where the environment has a function that takes a ``Later``, in place of an answer."""

_ENVIRON: Final[Environ] = {
    "SCRIPT_NAME": "",
    "wsgi.version": (1, 0),
    "wsgi.multithread": True,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
}


class Gone(Exception):
    """The client takes no more of its answer."""


@dataclass(frozen=True, slots=True)
class WsgiReply:
    """A whole answer; None in its place: it was sent piece by piece."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    async def send(self, send: Send) -> None:
        """Send it."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body})


@dataclass(frozen=True, slots=True)
class Later:
    """An answer that waits for something; the event loop waits for it, and no thread."""

    patience_s: float
    """After so long, a thread calls ``reply``."""
    when_over: Callable[[Callable[[], None]], None]
    """Calls what it is given, maybe twice and in any thread, as soon as there is nothing left to wait for."""
    is_quick: Callable[[], bool]
    """Whether ``reply`` waits for nothing, so that the loop can call it."""
    reply: Callable[[], WsgiReply]
    """Returns the answer. Called once, whether or not the client is still there."""


@dataclass(slots=True)
class WsgiCall:
    """One call. Made in the event loop, run in a thread."""

    app: Callable[..., Iterable[bytes]]
    environ: Environ
    receive: Receive
    send: Send
    loop: asyncio.AbstractEventLoop
    _status: int = 0
    _headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    _leaving: Future[None] | None = None
    _later: Later | None = None

    def __post_init__(self) -> None:
        self.environ[CLIENT_GONE] = self.is_gone
        self.environ[LATER] = self._wait_for

    def run(self) -> WsgiReply | Later | None:
        """Call the application. Raises Gone, and what the application raises."""
        try:
            result = self.app(self.environ, self._start)
            try:
                return self._later or self._reply(result)
            finally:
                close = getattr(result, "close", None)
                if close is not None:
                    close()
        finally:
            # The environment has the body, and refers back to this call: collections are rare, and bodies are large.
            self.environ = {}

    def is_gone(self) -> bool:
        """Return whether the client has left."""
        if self._leaving is None:
            self._leaving = asyncio.run_coroutine_threadsafe(self._left(), self.loop)
        return self._leaving.done()

    def close(self) -> None:
        """Note that the client does not wait for the answer any more."""
        if self._leaving is not None:
            self._leaving.cancel()

    async def _left(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass

    def _wait_for(self, later: Later) -> None:
        self._later = later

    def _start(self, status: str, headers: list[tuple[str, str]], exc_info: object = None) -> None:
        del exc_info  # nothing has been sent yet: the later answer replaces the earlier one
        self._status = int(status[:3])
        self._headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]

    def _reply(self, result: Iterable[bytes]) -> WsgiReply | None:
        length = next((value for name, value in self._headers if name == b"content-length"), b"")
        if length.isdigit() and int(length) <= WHOLE_BYTES:
            return WsgiReply(self._status, self._headers, b"".join(result))
        pieces = iter(result)
        piece = next(pieces, b"")  # the application may say its status as late as this
        self._push({"type": "http.response.start", "status": self._status, "headers": self._headers})
        self._push({"type": "http.response.body", "body": piece, "more_body": True})
        for piece in pieces:
            self._push({"type": "http.response.body", "body": piece, "more_body": True})
        self._push({"type": "http.response.body", "body": b""})
        return None

    def _push(self, message: Message) -> None:
        """Send, and wait until the client has room for more. Raises Gone."""
        if self.is_gone():
            raise Gone
        sending = asyncio.run_coroutine_threadsafe(self._sent(message), self.loop)
        try:
            sending.result(STALL_S)
        except TimeoutError:
            sending.cancel()
            raise Gone from None

    async def _sent(self, message: Message) -> None:
        await self.send(message)


def path_of(scope: Scope) -> str:
    """Return the path that a request asks for, also if its target names the host, as requests to a proxy do."""
    path = str(scope["path"])
    if not path.startswith("/") and "://" in path:
        path = "/" + path.partition("://")[2].partition("/")[2]
    return "/" + path.lstrip("/") if path.startswith("//") else path


def environ_of(scope: Scope, body: bytes, *, whole: bool) -> Environ:
    """Return the environment of a request. One that is not ``whole`` announces more than there is."""
    server = scope.get("server") or ("localhost", None)
    environ = _ENVIRON | {
        "REQUEST_METHOD": scope["method"],
        "PATH_INFO": path_of(scope).encode().decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1] or 80),
        "REMOTE_ADDR": (scope.get("client") or ("",))[0],
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.errors": sys.stderr,
        "wsgi.input": BytesIO(body),
    }
    for raw_name, raw_value in scope["headers"]:
        name = _name(raw_name)
        value = raw_value.decode("latin-1")
        if name in environ:
            value = f"{environ[name]}{'; ' if name == 'HTTP_COOKIE' else ','}{value}"
        environ[name] = value
    environ["CONTENT_TYPE"] = environ.pop("HTTP_CONTENT_TYPE", "")
    announced = environ.pop("HTTP_CONTENT_LENGTH", None)
    chunked = environ.pop("HTTP_TRANSFER_ENCODING", None)
    if announced is not None:
        environ["CONTENT_LENGTH"] = announced
    elif chunked is not None:
        environ["CONTENT_LENGTH"] = str(len(body) if whole else len(body) + 1)
    return environ


@lru_cache(maxsize=256)
def _name(raw_name: bytes) -> str:
    """Return where the environment of a request has a header."""
    return "HTTP_" + raw_name.decode("latin-1").upper().replace("-", "_")
