"""Somebody who has seen one callback, somebody with a port, and a slow sender: what none of them decides, on the whole."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import urllib3

from deedbox.shared.core.signature import content_sha256, event_hash
from deedbox.shared.simulator.api_state import FilesApiPolicy
from deedbox.shared.simulator.files_api import FilesApi
from deedbox.shared.simulator.lifecycle import Account
from tests.component.workers.fetch_desk import shown
from tests.e2e.running import Running
from tests.e2e.test_up import KEY, _callback_url
from tests.support.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.real_redis]

TOKEN = "a-token-of-the-test-0123456789"
FORGED = 40
SLOW = 64
BOUND_S = 30.0
"""A quarter of it is the usual time of a busy machine; forged callbacks once cost six minutes."""

P = "signature_request_"


@dataclass
class Scene:
    """A running pipeline, the API beside it, and what everybody sends."""

    up: Running
    api: FilesApi
    url: str
    http: urllib3.PoolManager

    def post(self, text: bytes, **headers: str) -> tuple[int, bytes]:
        found = self.http.request(
            "POST", self.url, fields={"json": text.decode()}, headers=headers, timeout=25
        )
        return found.status, found.data

    def request(self, request_id: str) -> dict[str, Any]:
        """Return what ops answers about a request."""
        port = self.up.says("dashboard").partition("dashboard")[2].split("http://", 1)[1].split("/")[0]
        answer = self.http.request(
            "GET", f"http://{port}/api/requests/{request_id}", headers={"Authorization": f"Bearer {TOKEN}"}
        )
        return dict(answer.json()) if answer.status == 200 else {}

    def documents(self) -> set[str]:
        return {path.parent.name for path in (self.up.folder / "var" / "documents").rglob("*.pdf")}


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    api = FilesApi(Account(KEY), FilesApiPolicy(not_ready_max=0))
    api.start()
    up = Running(
        tmp_path, "up", DEEDBOX_API_KEYS=KEY, DEEDBOX_API_URL=api.url, DEEDBOX_HOLD_S="1",
        DEEDBOX_DOWNLOADABLE_GRACE_S="1", DEEDBOX_OPS_TOKEN=TOKEN,
    )  # fmt: skip
    try:
        up.says("Deedbox is ready.")
        with urllib3.PoolManager(retries=False) as http:
            yield Scene(up, api, _callback_url(up), http)
    finally:
        up.close()
        api.stop()


def text_of(kind: str, at: int, known_hash: str, request_id: str, **request: Any) -> bytes:
    event = {"event_type": P + kind, "event_time": str(at), "event_hash": known_hash}
    return json.dumps(
        {
            "event": event,
            "signature_request": {"signature_request_id": request_id, "created_at": at - 60, **request},
        }
    ).encode()


def signed(kind: str, at: int, request_id: str, **request: Any) -> bytes:
    return text_of(kind, at, event_hash(KEY, str(at), P + kind), request_id, **request)


def slow_sender(url: str) -> socket.socket:
    """Begin a request that never becomes whole."""
    where = urlsplit(url)
    link = socket.create_connection((str(where.hostname), where.port or 80), 10)
    link.sendall(b"POST /callbacks HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\na")
    return link


def test_claims_decide_nothing_and_delay_no_document_for_long(scene: Scene) -> None:
    now = int(time.time())
    known = event_hash(KEY, str(now), P + "downloadable")
    scene.api.state.put(shown("genuine"))
    scene.api.state.put(shown("open", is_complete=False))
    with ExitStack() as stack:
        for _ in range(SLOW):
            stack.enter_context(slow_sender(scene.url))
        for number in range(FORGED):
            forged = text_of("downloadable", now, known, f"forged{number}", is_complete=True, title="FORGED")
            assert scene.post(forged)[0] == 200
            assert scene.post(b"junk")[0] == 400
        claimed = text_of("downloadable", now, known, "open", is_complete=True, title="FORGED")
        assert scene.post(claimed, **{"Content-Sha256": "AAAA"})[0] == 200

        begun = time.monotonic()
        genuine = signed("downloadable", now + 1, "genuine", is_complete=True, title="Lease")
        answer = scene.post(genuine, **{"Content-Sha256": content_sha256(KEY, genuine)})
        assert answer == (200, b"Hello API Event Received")
        until(lambda: "genuine" in scene.documents(), "the genuine document is stored")
        assert time.monotonic() - begun < BOUND_S

    until(lambda: scene.request("genuine").get("complete") is True, "the genuine request is complete")
    until(lambda: scene.request("open").get("state"), "the claimed request is known")
    assert scene.documents() == {"genuine"}
    assert scene.request("open")["complete"] is False
    assert scene.request("forged0").get("complete", False) is False
    assert known not in json.dumps([scene.request("genuine"), scene.request("open")])
