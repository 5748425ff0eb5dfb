"""Somebody who knows one hash, or a tenant's key, somebody with a port, and a slow sender: what none of them decides."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
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
ACME = "a" * 64
"""Key of another tenant, which the adversary knows."""

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

    def post(self, text: bytes, tenant: str = "", **headers: str) -> tuple[int, bytes]:
        found = self.http.request(
            "POST", self.url + tenant, fields={"json": text.decode()}, headers=headers, timeout=25
        )
        return found.status, found.data

    def ask(self, path: str, token: str) -> tuple[int, bytes]:
        """Ask ops."""
        port = self.up.says("dashboard").partition("dashboard")[2].split("http://", 1)[1].split("/")[0]
        answer = self.http.request(
            "GET", f"http://{port}/api/requests/{path}", headers={"Authorization": f"Bearer {token}"}
        )
        return answer.status, answer.data

    def request(self, request_id: str, source: str = "default") -> dict[str, Any]:
        """Return what ops answers about a request."""
        status, body = self.ask(f"{request_id}?source={source}", TOKEN)
        return dict(json.loads(body)) if status == 200 else {}

    def documents(self) -> set[str]:
        return {path.parent.name for path in (self.up.folder / "var" / "documents").rglob("*.pdf")}


class TwoAccounts(FilesApi):
    """An API with an account for each of two keys, which show the same requests."""

    def authorized(self, user_name: str) -> bool:
        return user_name == ACME or super().authorized(user_name)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    api = TwoAccounts(Account(KEY), FilesApiPolicy(not_ready_max=0))
    api.start()
    up = Running(
        tmp_path_factory.mktemp("up"), "up", DEEDBOX_API_KEYS=KEY, DEEDBOX_API_URL=api.url, DEEDBOX_HOLD_S="1",
        DEEDBOX_DOWNLOADABLE_GRACE_S="1", DEEDBOX_OPS_TOKEN=TOKEN,
        DEEDBOX_SOURCES=json.dumps({"acme": {"api_keys": [ACME]}}),
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


def signed(kind: str, at: int, request_id: str, key: str = KEY, **request: Any) -> bytes:
    return text_of(kind, at, event_hash(key, str(at), P + kind), request_id, **request)


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
    assert "genuine" in scene.documents()
    assert not {"open", "forged0"} & scene.documents()
    assert scene.request("open")["complete"] is False
    assert scene.request("forged0").get("complete", False) is False
    assert known not in json.dumps([scene.request("genuine"), scene.request("open")])


def test_who_knows_a_tenants_key_decides_nothing_there_and_delays_nobody_elsewhere(scene: Scene) -> None:
    """What the key signs is attested. Only the API confirms, and the other tenant has its own budget."""
    now = int(time.time())
    scene.api.state.put(shown("elsewhere"))
    scene.api.state.put(shown("unsigned", is_complete=False))
    for number in range(FORGED):
        forged = signed("downloadable", now, f"made-up{number}", ACME, is_complete=True, title="FORGED")
        assert scene.post(forged, "/acme", **{"Content-Sha256": content_sha256(ACME, forged)})[0] == 200
        assert scene.post(forged, **{"Content-Sha256": content_sha256(ACME, forged)})[0] == 401
    claimed = signed("downloadable", now, "unsigned", ACME, is_complete=True, title="FORGED")
    assert scene.post(claimed, "/acme", **{"Content-Sha256": content_sha256(ACME, claimed)})[0] == 200

    begun = time.monotonic()
    genuine = signed("downloadable", now + 1, "elsewhere", is_complete=True, title="Lease")
    assert scene.post(genuine, **{"Content-Sha256": content_sha256(KEY, genuine)})[0] == 200
    until(lambda: "elsewhere" in scene.documents(), "the other tenant's document is stored")
    assert time.monotonic() - begun < BOUND_S

    until(lambda: scene.request("unsigned", "acme").get("state"), "the signed claim is known")
    assert scene.request("unsigned", "acme")["complete"] is False
    assert not list((scene.up.folder / "var" / "documents").glob("acme/*/*"))
    assert scene.ask("unsigned?source=acme", ACME)[0] == 401
