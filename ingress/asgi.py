"""``deedbox.asgi_app()``: the receiver as an ASGI application, to mount in FastAPI or Starlette."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from deedbox.ingress.mount import Mounted, source_of
from deedbox.ingress.publish.background import Link
from deedbox.ingress.receive.ladder import RefusedCallback
from deedbox.ingress.receive.receiver import CutShort, HttpAnswer, answer_of
from deedbox.shared.core.reasons import Refusal
from deedbox.shared.settings import Settings

BODY_WITHIN_S: Final = 15.0
"""A sender gets so long for its body, as in Deedbox's own server."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]


def asgi_app(settings: Settings | None = None, broker: Link | None = None) -> AsgiApp:
    """Return the receiver as an ASGI application: ``app.mount("/callbacks", deedbox.asgi_app())``.

    A callback is verified, made durable and acknowledged, as in Deedbox's own web process. Settings come from the
    environment unless they are given. Opens no connection. Raises SettingsError.
    """
    mounted = Mounted.of(settings, broker)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":  # only of an application that is not mounted
            await _live(mounted, receive, send)
        elif scope["type"] == "http":
            await _send(send, await _answer(mounted, scope, receive))
        else:
            raise ValueError("deedbox.asgi_app answers HTTP requests only")

    return app


async def _answer(mounted: Mounted, scope: Scope, receive: Receive) -> HttpAnswer:
    root, path = scope.get("root_path", ""), scope["path"]
    source = source_of(path.removeprefix(root) if path.startswith(root) else path)
    if source is None:
        return answer_of(
            RefusedCallback(Refusal.NOT_FOUND, "callbacks go to the mount, or to <mount>/<source>")
        )
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            body = await _body(receive, mounted.receiver.policy.body_max_bytes)
    except (TimeoutError, CutShort):
        body = CutShort()

    def read(_body_max_bytes: int) -> bytes | None:
        if isinstance(body, CutShort):
            raise body
        return body

    # The answer waits for the broker, or for the disk: not in the event loop.
    return await asyncio.to_thread(mounted.answer, source, scope["method"], headers.get, read)


async def _body(receive: Receive, body_max_bytes: int) -> bytes | CutShort | None:
    """Read a body of up to the limit; None for a larger one. Raises CutShort."""
    pieces = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise CutShort
        pieces += message.get("body", b"")
        if len(pieces) > body_max_bytes:
            return None
        if not message.get("more_body", False):
            return bytes(pieces)


async def _send(send: Send, answer: HttpAnswer) -> None:
    headers = [
        ("content-type", answer.content_type),
        ("content-length", str(len(answer.body))),
        *answer.headers,
    ]
    wire = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": answer.status, "headers": wire})
    await send({"type": "http.response.body", "body": answer.body})


async def _live(mounted: Mounted, receive: Receive, send: Send) -> None:
    while (message := await receive())["type"] != "lifespan.shutdown":
        mounted.handover.start()
        await send({"type": f"{message['type']}.complete"})
    await asyncio.to_thread(mounted.handover.close)
    await send({"type": "lifespan.shutdown.complete"})
