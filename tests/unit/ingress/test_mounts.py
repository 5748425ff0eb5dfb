"""The mounts: where they are reached, what a torn or slow body gets, and what importing them loads."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import MutableMapping
from typing import Any

import pytest

import deedbox
from deedbox.ingress import asgi
from deedbox.ingress.mount import source_of
from deedbox.shared.core.errors import SettingsError
from tests.unit.ingress.wire import MULTIPART, RememberingBroker, callback, multipart, settings

Message = MutableMapping[str, Any]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("", "default"), ("/", "default"), ("/callbacks", "default"), ("/callbacks/", "default"), ("/sales", "sales"),
        ("/callbacks/sales", "sales"), ("/callbacks/sales/", "sales"), ("/a/b", None), ("/callbacks/a/b", None),
    ],
)  # fmt: skip
def test_a_mount_at_callbacks_or_above_it_finds_the_source(path: str, source: str | None) -> None:
    assert source_of(path) == source


def asked(
    *messages: Message, path: str = "/callbacks", method: str = "POST", **config: str
) -> tuple[int, bytes]:
    """Ask the ASGI application; in a thread, because a browser test may have a loop in this one."""
    app = asgi.asgi_app(settings(**config), RememberingBroker())
    scope = {"type": "http", "method": method, "path": path, "root_path": "",
             "headers": [(b"content-type", MULTIPART.encode())]}  # fmt: skip
    sent: list[Message] = []
    waiting = list(messages)

    async def receive() -> Message:
        if not waiting:
            await asyncio.sleep(60)
        return waiting.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    async def ask() -> None:
        await app(scope, receive, send)

    thread = threading.Thread(target=lambda: asyncio.run(ask()))
    thread.start()
    thread.join()
    return sent[0]["status"], sent[1]["body"]


def piece(body: bytes, *, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_body_in_pieces_is_put_together() -> None:
    body = multipart(callback())
    pieces = [piece(body[:9], more=True), piece(b"", more=True), piece(body[9:])]
    assert asked(*pieces) == (200, b"Hello API Event Received")


def test_a_body_that_does_not_arrive_whole_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "BODY_WITHIN_S", 0.02)
    torn = asked(piece(b"--x", more=True), {"type": "http.disconnect"})
    slow = asked(piece(b"--x", more=True))
    assert torn == slow
    assert (torn[0], b"did not arrive whole" in torn[1]) == (400, True)


def test_a_body_above_the_limit_is_not_read_to_its_end() -> None:
    status, body = asked(
        piece(b"x" * 3000, more=True), piece(b"x" * 3000, more=True), DEEDBOX_BODY_MAX_BYTES="4096"
    )
    assert (status, b"body_too_large" in body) == (413, True)


def test_another_path_is_not_found() -> None:
    assert asked(piece(b""), path="/a/b/c")[0] == 404


def test_a_standalone_application_starts_and_ends_with_its_server() -> None:
    app = asgi.asgi_app(settings(), RememberingBroker())
    waiting: list[Message] = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[Message] = []

    async def receive() -> Message:
        return waiting.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    async def live() -> None:
        await app({"type": "lifespan"}, receive, send)

    thread = threading.Thread(target=lambda: asyncio.run(live()))
    thread.start()
    thread.join()
    assert [each["type"] for each in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


@pytest.mark.parametrize("make", [deedbox.asgi_app, deedbox.flask.blueprint])
def test_a_mount_without_keys_says_so_at_the_start(monkeypatch: pytest.MonkeyPatch, make: Any) -> None:
    for name in ("DEEDBOX_API_KEYS", "DEEDBOX_API_KEYS_FILE", "DEEDBOX_SOURCES"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SettingsError, match="DEEDBOX_API_KEYS"):
        make()


def test_the_modules_of_the_mounts_need_no_framework_to_be_imported() -> None:
    program = (
        "import sys, deedbox, deedbox.flask, deedbox.django; deedbox.django.view, deedbox.flask.blueprint;"
        "print([name for name in ('flask', 'django', 'kombu', 'redis') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
