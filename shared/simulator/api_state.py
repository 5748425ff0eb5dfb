"""What the simulated API knows and decides, without HTTP: snapshots, readiness of files, faults, rate limits, counts."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from deedbox.shared.simulator import story
from deedbox.shared.simulator.lifecycle import SimulatedCallback
from deedbox.shared.simulator.paper import render_pdf, render_zip

OK: Final = 200
NOT_FOUND: Final = 404
CONFLICT: Final = 409
DELETED: Final = 410
UNPROCESSABLE: Final = 422
EXCEEDED_RATE: Final = 429


class Endpoint(StrEnum):
    """The calls that the simulated API answers."""

    ACCOUNT = "account"
    API_APP = "api_app"
    LIST = "list"
    REQUEST = "request"
    FILES = "files"


class FileType(StrEnum):
    """What ``file_type`` may ask for: one merged PDF, or the separate files."""

    PDF = "pdf"
    ZIP = "zip"


@dataclass(frozen=True, slots=True)
class FilesApiPolicy:
    """How the API behaves besides answering. Nothing depends on the order of threads: draws are per request."""

    seed: int = 0
    not_ready_max: int = 2
    """After completion, the first 0..max downloads of a request (drawn per request) get 409."""
    exceeded_rate: float = 0.0
    """Share of authorized calls, 0..1, that get 429 although the budget is not used up."""
    calls_per_window: int = 100
    file_calls_per_window: int = 25
    """Downloads have their own budget."""
    window_s: int = 60
    """Length of the window of both budgets; ``X-Ratelimit-Reset`` is its end."""


@dataclass(frozen=True, slots=True)
class CallWindow:
    """What the rate-limit headers say."""

    limit: int
    remaining: int
    reset_at: int
    """Unix seconds."""


class ApiState:
    """The state behind the endpoints. Every method may be called from any thread."""

    def __init__(self, policy: FilesApiPolicy, now: Callable[[], float] = time.time) -> None:
        self._policy = policy
        self._now = now
        self._lock = threading.Lock()
        self._snapshots: dict[str, Mapping[str, Any]] = {}
        self._sequence_numbers: dict[str, int] = {}
        self._canceled: set[str] = set()
        self._revisions: Counter[str] = Counter()
        self._final_downloads: Counter[str] = Counter()
        self._scripts: dict[tuple[Endpoint, str], deque[int]] = {}
        self._draws: Counter[tuple[Endpoint, str]] = Counter()
        self._used: Counter[tuple[bool, int]] = Counter()
        self._calls: Counter[tuple[Endpoint, int]] = Counter()

    def advance(self, callback: SimulatedCallback) -> None:
        """Let the event have happened. What is already further stays: callbacks come in any order."""
        request_id = callback.signature_request_id
        with self._lock:
            if callback.sequence_number < self._sequence_numbers.get(request_id, 0):
                return
            self._sequence_numbers[request_id] = callback.sequence_number
            self._snapshots[request_id] = callback.snapshot
            if callback.event_type == story.CANCELED:
                self._canceled.add(request_id)

    def put(self, snapshot: Mapping[str, Any]) -> None:
        """Set a request's state to any ``signature_request`` document."""
        with self._lock:
            self._snapshots[snapshot["signature_request_id"]] = snapshot

    def revise(self, signature_request_id: str) -> None:
        """Change the final documents: later downloads, and ``document``, give other bytes."""
        with self._lock:
            self._revisions[signature_request_id] += 1

    def script(self, endpoint: Endpoint, signature_request_id: str, statuses: Iterable[int]) -> None:
        """Answer the next calls with these statuses, one each (200: as without a script). ``""`` where no id is."""
        with self._lock:
            self._scripts.setdefault((endpoint, signature_request_id), deque()).extend(statuses)

    def snapshot(self, signature_request_id: str) -> Mapping[str, Any] | None:
        """Return a request's current state; None if it is unknown."""
        with self._lock:
            return self._snapshots.get(signature_request_id)

    def snapshots(self) -> list[Mapping[str, Any]]:
        """Return all current states, newest request first."""
        with self._lock:
            return sorted(self._snapshots.values(), key=lambda s: -s["created_at"])

    def calls(self) -> dict[tuple[Endpoint, int], int]:
        """Return how often each endpoint answered with each status."""
        with self._lock:
            return dict(self._calls)

    def count(self, endpoint: Endpoint, status: int) -> None:
        """Count an answer."""
        with self._lock:
            self._calls[endpoint, status] += 1

    def admit(self, endpoint: Endpoint, signature_request_id: str) -> tuple[int, CallWindow]:
        """Charge a call: 200 if it may go on, or the status of a fault, and the budget for the headers."""
        policy = self._policy
        files = endpoint is Endpoint.FILES
        limit = policy.file_calls_per_window if files else policy.calls_per_window
        with self._lock:
            window = int(self._now()) // policy.window_s
            self._used[files, window] += 1
            remaining = limit - self._used[files, window]
            status = EXCEEDED_RATE if remaining < 0 else self._fault(endpoint, signature_request_id)
        shown = 0 if status == EXCEEDED_RATE else remaining
        return status, CallWindow(limit, shown, (window + 1) * policy.window_s)

    def _fault(self, endpoint: Endpoint, signature_request_id: str) -> int:
        script = self._scripts.get((endpoint, signature_request_id))
        if script:
            return script.popleft()
        self._draws[endpoint, signature_request_id] += 1
        number = self._draws[endpoint, signature_request_id]
        exceeded = self._draw(endpoint, signature_request_id, number).random() < self._policy.exceeded_rate
        return EXCEEDED_RATE if exceeded else OK

    def _draw(self, *scope: object) -> random.Random:
        return random.Random("|".join(map(str, (self._policy.seed, *scope))))

    def download(self, signature_request_id: str, file_type: FileType) -> tuple[int, bytes]:
        """Return status and bytes of the current copy: partly signed with 200 before completion, as the vendor does."""
        with self._lock:
            snapshot = self._snapshots.get(signature_request_id)
            status = self._files_status(signature_request_id, snapshot)
        if status != OK or snapshot is None:
            return status, b""
        if snapshot["is_complete"]:
            return OK, self.document(signature_request_id, file_type)
        signed = sum(row["status_code"] == "signed" for row in snapshot["signatures"])
        return OK, _render(signature_request_id, f"Partly signed: {signed} signatures", file_type)

    def _files_status(self, signature_request_id: str, snapshot: Mapping[str, Any] | None) -> int:
        if snapshot is None:
            return NOT_FOUND
        if signature_request_id in self._canceled:
            return DELETED
        if snapshot["has_error"]:
            return UNPROCESSABLE
        if not snapshot["is_complete"]:
            return OK
        self._final_downloads[signature_request_id] += 1
        not_ready = self._draw("not_ready", signature_request_id).randint(0, self._policy.not_ready_max)
        return CONFLICT if self._final_downloads[signature_request_id] <= not_ready else OK

    def document(self, signature_request_id: str, file_type: FileType) -> bytes:
        """Return the final document, whether or not the request is complete yet."""
        with self._lock:
            revision = self._revisions[signature_request_id]
        return _render(signature_request_id, f"Final copy, revision {revision}", file_type)

    def sha256_of(self, signature_request_id: str, file_type: FileType) -> str:
        """Return the hexadecimal SHA-256 of the final document."""
        return hashlib.sha256(self.document(signature_request_id, file_type)).hexdigest()


def _render(signature_request_id: str, state: str, file_type: FileType) -> bytes:
    pdf = render_pdf([f"Signature request {signature_request_id}", state])
    if file_type is FileType.PDF:
        return pdf
    return render_zip([("agreement.pdf", pdf), ("audit-trail.pdf", render_pdf(["Audit trail", state]))])
