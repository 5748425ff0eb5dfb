"""Key rings, and a request that left something in every place."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis import Redis

from deedbox.shared import sealing
from deedbox.shared.broker.message import encode_kombu
from deedbox.shared.documents import DocumentStore, FileTree
from deedbox.shared.redis import inbox
from deedbox.shared.redis.scripting import Scripts
from deedbox.shared.sealing.key_ring import KeyRing
from deedbox.workers.actions.interface import Context, Event, Reject
from deedbox.workers.builtins.track_status import registered
from tests.component.workers.rig import Deployment, Journal, action, envelope, sent, viewed

OLD, NEW = b"\x01" * 32, b"\x02" * 32
MARKER = "Zwetlana-Quirx"
"""A name that no other byte of a test has."""

TITLE = f"Lease of {MARKER}"
PDF = f"%PDF-1.7 {MARKER}".encode()
STREAM = "default:signature_request/{}"


def use(*keys: bytes) -> None:
    """Give this process a ring."""
    sealing.install(KeyRing(keys) if keys else None)


def signer(request_id: str) -> dict[str, Any]:
    """Return a signer whose name and address are the marker."""
    return {
        "signature_id": "s1", "signer_name": MARKER, "signer_email_address": f"{MARKER}@example.com",
        "last_viewed_at": 1_800_000_003, "request": request_id,
    }  # fmt: skip


@dataclass
class Filled:
    """A deployment that has processed callbacks of some requests."""

    deployment: Deployment
    store: DocumentStore
    journal: Journal = field(default_factory=Journal)

    def titles(self) -> set[str]:
        """Return what the journal's action has seen."""
        return {event.payload["signature_request"]["title"] for event, _ in self.journal.calls}


def fill(redis: Redis, folder: Path, *request_ids: str) -> Filled:
    """Process callbacks that name the marker: bodies, a conflict, read models, notes, dead letters, documents."""

    def fail(_event: Event, _context: Context) -> None:
        raise Reject(f"{MARKER} is unknown")

    def note(_event: Event, context: Context) -> None:
        context.note(f"called {MARKER}")
        context.emit("deedbox.called", {"who": MARKER})

    store = DocumentStore(FileTree(folder))
    filled = Filled(
        Deployment(
            redis, action(fail, name="crm"), action(note, name="note"), registered(),
        ),
        store,
    )  # fmt: skip
    for request_id in request_ids:
        filled.deployment.deliver(
            sent(0, request_id, title=TITLE, signatures=[signer(request_id)]),
            sent(0, request_id, title=f"{TITLE}, otherwise"),
            viewed(3, request_id, title=TITLE),
        )
        filled.deployment.run()
        store.put("default", request_id, PDF, "pdf", {"title": TITLE})
    return filled


def waiting(redis: Redis, request_id: str) -> bytes:
    """Put a callback into the inbox that nothing works off. Returns it as the broker holds it."""
    wrapped = envelope(sent(0, request_id, title=TITLE))
    load = inbox.Load()
    load.add(wrapped)
    inbox.append(Scripts(redis), load)
    return encode_kombu(wrapped.headers(), wrapped.body)
