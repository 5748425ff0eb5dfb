"""An application beside a running ops process: it asks, waits and listens; and callbacks arrive meanwhile."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import urllib3
from redis import Redis

from deedbox.shared.documents import DocumentStore, StoredDocument
from deedbox.shared.records.document_record import DocumentRecord
from deedbox.shared.redis.keys import document
from deedbox.shared.redis.scripting import Scripts
from deedbox.shared.retention import Retention
from deedbox.workers.actions.interface import Context, Event
from deedbox.workers.actions.registry import CLEAN_STREAM_KEEP
from deedbox.workers.builtins import read_model, track_status
from tests.component.ops_web.conftest import TOKEN, Ops
from tests.component.workers.rig import Deployment, action

PDF = b"%PDF-1.7 a small paper %%EOF"


def tracking(state: Redis, events_keep: int = CLEAN_STREAM_KEEP) -> Deployment:
    """Return a deployment that tracks requests and emits one internal event per completed one."""
    return Deployment(
        state,
        track_status.registered(),
        action(_announce, "signature_request_all_signed", name="announce"),
        events_keep=events_keep,
    )


def _announce(_event: Event, context: Context) -> None:
    context.emit("deedbox.announced", {"paper": 1})


def confirm(state: Redis, request_id: str = "r1", **shown: Any) -> None:
    """Let the API show a request, as ``fetch_documents`` and ``reconcile`` write it down."""
    request = {"title": "Lease", "signatures": [], **shown}
    stream = f"default:signature_request/{request_id}"
    read_model.confirm(Scripts(state), stream, request, time.time(), Retention())


def arrive(deployment: Deployment, *bodies: bytes, **more: Any) -> None:
    """Let callbacks arrive, and be worked off."""
    deployment.deliver(*bodies, **more)
    deployment.run()


def remember(
    state: Redis, docs: DocumentStore, request_id: str, *versions: bytes, store: str = ""
) -> list[StoredDocument]:
    """Store versions of a request's document, as ``fetch_documents`` does."""
    stored = [docs.put("default", request_id, data, "pdf", {}) for data in versions]
    rows: list[dict[str, Any]] = [
        {
            "sha256": each.sha256,
            "size": each.size,
            "url": each.url,
            "trigger": "x",
            "fetched_at": 1.0,
            "store": store,
        }
        for each in stored
    ]
    state.set(document(f"default:signature_request/{request_id}"), DocumentRecord(rows).dump())
    return stored


def get(ops: Ops, path: str, **more: Any) -> Any:
    """Return the JSON of a 200."""
    answer = ops.request("GET", path, **more)
    assert answer.status == 200, answer.data
    return answer.json()


@contextmanager
def meanwhile(call: Callable[[], Any]) -> Iterator[list[Any]]:
    """Run a call beside the block; its result is in the list once the block has ended."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(call()))
    thread.start()
    try:
        yield results
    finally:
        thread.join(30)


@dataclass
class Listener:
    """A client of server-sent events, by the rules of the standard."""

    ops: Ops
    path: str = "/api/events"
    last_id: str | None = None
    got: list[dict[str, Any]] = field(default_factory=list)
    named: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    @contextmanager
    def connected(self) -> Iterator[urllib3.BaseHTTPResponse]:
        """Connect, from where the client is."""
        headers = {"Accept": "text/event-stream", "Authorization": f"Bearer {TOKEN}"}
        if self.last_id is not None:
            headers["Last-Event-ID"] = self.last_id
        answer = urllib3.request(
            "GET", self.ops.url + self.path, headers=headers, preload_content=False, timeout=20, retries=False
        )
        try:
            yield answer
        finally:
            answer.close()

    def listen(self, enough: Callable[[], bool]) -> None:
        """Take what comes until it is enough, or the connection breaks."""
        with self.connected() as answer:
            assert answer.status == 200, answer.data
            try:
                self._take(answer, enough)
            except urllib3.exceptions.HTTPError:
                return

    def _take(self, answer: urllib3.BaseHTTPResponse, enough: Callable[[], bool]) -> None:
        buffer = b""
        for chunk in answer.stream(65536):
            buffer += chunk
            while b"\n\n" in buffer:
                block, _, buffer = buffer.partition(b"\n\n")
                self._dispatch(block.decode())
                if enough():
                    return

    def _dispatch(self, block: str) -> None:
        fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
        self.last_id = fields.get("id", self.last_id)
        if "data" in fields and "event" in fields:
            self.named.append((fields["event"], json.loads(fields["data"])))
        elif "data" in fields:
            self.got.append(json.loads(fields["data"]))
