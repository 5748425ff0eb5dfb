"""An account whose callbacks carry no ``Content-Sha256``, and somebody who knows one ``event_hash``: with real processes.

What they store is encrypted here, which changes no answer.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, Final

import pytest
import urllib3

from deedbox.shared.core.signature import event_hash
from deedbox.shared.simulator.api_state import FilesApiPolicy
from deedbox.shared.simulator.files_api import FilesApi
from deedbox.shared.simulator.lifecycle import Account
from tests.e2e.conftest import Start
from tests.e2e.running import Running, until

pytestmark = [pytest.mark.e2e, pytest.mark.real_redis]

KEY: Final = "324e3b0840f065eb51f3fd63231d0d33daa35d4ed10d27718839e81737065782"
TOKEN: Final = "e2e-token-0123456789-abcdef"
BEGAN_AT: Final = int(time.time()) - 600
P: Final = "signature_request_"


def request(request_id: str, *, signed: bool = False, **more: Any) -> dict[str, Any]:
    """Return a ``signature_request``, as callbacks and the API show it."""
    signer = {"signature_id": "s1", "status_code": "signed" if signed else "awaiting_signature",
              "signed_at": BEGAN_AT + 60 if signed else None, "last_viewed_at": None}  # fmt: skip
    return {
        "signature_request_id": request_id, "title": "Lease", "test_mode": False, "created_at": BEGAN_AT,
        "is_complete": signed, "is_declined": False, "has_error": False, "signatures": [signer], **more,
    }  # fmt: skip


class Site:
    """A running deployment, and the API that it asks."""

    def __init__(self, up: Running, api: FilesApi) -> None:
        self.api = api
        self.folder = up.folder
        self._callbacks = _address(up, r"callbacks +(http://\S+)")
        self._ops = _address(up, r"dashboard +(http://[^/\s]+)")
        until(self._ops_answers, "ops answers")

    def _ops_answers(self) -> bool:
        try:
            return (
                urllib3.request("GET", self._ops + "/healthz", retries=False, timeout=5).status
                == HTTPStatus.OK
            )
        except urllib3.exceptions.HTTPError:
            return False  # it starts beside the others, and `up` does not wait for it

    def send(self, event_type: str, at_s: int, document: dict[str, Any]) -> None:
        """Send a callback without ``Content-Sha256``: only its ``event_hash`` fits."""
        time_text = str(BEGAN_AT + at_s)
        event = {"event_type": P + event_type, "event_time": time_text,
                 "event_hash": event_hash(KEY, time_text, P + event_type)}  # fmt: skip
        body = json.dumps({"event": event, "signature_request": document})
        answer = urllib3.request("POST", self._callbacks, fields={"json": body}, retries=False, timeout=10)
        assert answer.status == 200, answer.data

    def ask(self, request_id: str, wait: str, timeout_s: float = 25) -> dict[str, Any]:
        """Wait at the API of ops, as an application does."""
        url = f"{self._ops}/api/requests/{request_id}?wait={wait}&timeout={timeout_s}"
        headers = {"Authorization": f"Bearer {TOKEN}"}
        answer = urllib3.request("GET", url, headers=headers, retries=False, timeout=timeout_s + 10)
        assert answer.status == 200, answer.data
        found: dict[str, Any] = answer.json()
        return found

    def document(self, request_id: str) -> bytes:
        """Return the stored document, as ops hands it out."""
        url = f"{self._ops}/api/requests/{request_id}/documents/1"
        answer = urllib3.request(
            "GET", url, headers={"Authorization": f"Bearer {TOKEN}"}, retries=False, timeout=10
        )
        assert answer.status == 200, answer.data
        return answer.data


def _address(up: Running, pattern: str) -> str:
    found = re.search(pattern, up.out)
    assert found is not None, up.out
    return found[1]


@pytest.fixture
def site(start: Start) -> Iterator[Site]:
    api = FilesApi(
        Account(KEY), FilesApiPolicy(not_ready_max=0, calls_per_window=1000, file_calls_per_window=1000)
    )
    api.start()
    try:
        up = start(
            "up", DEEDBOX_API_KEYS=KEY, DEEDBOX_API_URL=api.url, DEEDBOX_OPS_TOKEN=TOKEN, DEEDBOX_HOLD_S="1",
            DEEDBOX_DOWNLOADABLE_GRACE_S="0", DEEDBOX_ENCRYPTION_KEYS="5a" * 32,
        )  # fmt: skip
        up.says("Deedbox is ready.")
        yield Site(up, api)
    finally:
        api.stop()


def test_what_is_only_claimed_becomes_an_answer_once_the_api_was_asked(site: Site) -> None:
    site.api.state.put(request("r1"))
    site.send("sent", 0, request("r1"))
    found = site.ask("r1", "ready_to_sign")
    assert (found["met"], found["trust"]["state"], found["complete"]) == (True, "confirmed", False)

    site.api.state.put(request("r1", signed=True))
    site.send("all_signed", 60, request("r1", signed=True))
    site.send("downloadable", 62, request("r1", signed=True))
    found = site.ask("r1", "documents")
    assert (found["met"], found["complete"], len(found["documents"])) == (True, True, 1)
    assert set(found["trust"].values()) == {"confirmed"}
    document = site.document("r1")
    assert hashlib.sha256(document).hexdigest() == found["documents"][0]["sha256"]
    [stored] = site.folder.rglob("documents/default/r1/*.sealed")
    assert document not in stored.read_bytes()


def test_who_knows_one_hash_completes_nothing(site: Site) -> None:
    site.api.state.put(request("r1"))
    site.send("sent", 0, request("r1"))
    site.send("all_signed", 60, request("r1", signed=True, title="FORGED"))
    found = site.ask("r1", "complete", timeout_s=8)
    assert (found["met"], found["complete"], found["closed"]) == (False, False, False)
    assert (found["state"], found["title"], found["ready_to_sign"]) == ("sent", "Lease", True)
    assert site.ask("r1", "documents", timeout_s=0.1)["documents"] == []
