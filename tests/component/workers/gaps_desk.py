"""The gap detector and ``reconcile`` as processes build them, against the simulated API over HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis import Redis

from deedbox.shared.core.gaps import Findings, Gap
from deedbox.shared.core.ordering import OrderingPolicy
from deedbox.shared.core.signature import BodySignature
from deedbox.shared.redis import keys
from deedbox.shared.settings import Settings
from deedbox.shared.simulator.api_state import Endpoint, FilesApiPolicy
from deedbox.shared.simulator.files_api import FilesApi
from deedbox.shared.simulator.lifecycle import Account
from deedbox.workers.process import Process
from deedbox.workers.sweeper.gaps import GapDesk, GapLook, operators_mark
from tests.component.workers.rig import (
    Deployment,
    Journal,
    P,
    action,
    callback,
    expire,
    expire_units,
    stored_model,
)

API_KEY = "324e3b0840f065eb51f3fd63231d0d33daa35d4ed10d27718839e81737065782"
GENEROUS = FilesApiPolicy(not_ready_max=0, calls_per_window=10_000, file_calls_per_window=10_000)
LANE = "documents"
BUILTINS = ("fetch_documents", "track_status", "reconcile")
SYNTHESISES = {"DEEDBOX_SYNTHESISE": "on", "DEEDBOX_DOWNLOADABLE_GRACE_S": "0"}
AGO_S = 7200
"""How long ago the requests of these tests were created: too old to be in flight."""

T = int(time.time()) - AGO_S


def signer(name: str, viewed_s: int | None = None, signed_s: int | None = None) -> dict[str, Any]:
    """Return a signer's row; times are seconds after the request's creation."""
    return {
        "signature_id": name,
        "status_code": "awaiting_signature" if signed_s is None else "signed",
        "last_viewed_at": None if viewed_s is None else T + viewed_s,
        "signed_at": None if signed_s is None else T + signed_s,
    }


SIGNED = signer("s1", 10, 20)


def shown(request_id: str = "r1", *signatures: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return what the API shows of a request; complete unless told otherwise."""
    return {
        "signature_request_id": request_id, "title": "Lease 7/12", "test_mode": False, "is_complete": True,
        "has_error": False, "is_declined": False, "created_at": T, "signatures": list(signatures) or [SIGNED],
        **changes,
    }  # fmt: skip


@dataclass
class GapsDesk:
    """Everything of one test."""

    api: FilesApi
    state: Redis
    settings: Settings
    deployment: Deployment
    told: Journal
    """Calls of a user's action for ``deedbox.reconciled``."""
    stored: Journal
    """Calls of a user's action for ``deedbox.document_stored``."""
    seen: Journal
    """Calls of a user's action for every Dropbox Sign event."""

    def happen(
        self, event_type: str, at_s: int, request: dict[str, Any], related: str | None = None,
        verdict: BodySignature = BodySignature.VALID,
    ) -> None:  # fmt: skip
        """Deliver a callback with this snapshot, and work off what is ready."""
        offset_s = T + at_s - 1_800_000_000
        rest = {name: value for name, value in request.items() if name != "signature_request_id"}
        body = callback(P + event_type, offset_s, request["signature_request_id"], related=related, **rest)
        self.deployment.deliver(body, verdict=verdict)
        self.deployment.run()

    def later(self) -> None:
        """Let every wait be over: looks, holds, retries."""
        expire(self.state, keys.GAPS_DUE)
        expire_units(self.state, "waiting")
        self.deployment.sweeper.once()
        self.deployment.run()

    def file(self, *request_ids: str) -> None:
        """Hand requests to ``reconcile``, as ``deedbox reconcile`` does."""
        found, mark = Findings((Gap.NEVER_SEEN,)), operators_mark()
        looks = [
            GapLook(f"default:signature_request/{each}", None, found, asked_by=mark)
            for each in request_ids or ("r1",)
        ]
        GapDesk(self.deployment.scripts, lambda _lane: None, fetches=True, synthesises=True).file(looks, T)

    def reconcile(self, *request_ids: str) -> None:
        """Reconcile requests, and work off all that comes of it."""
        self.file(*request_ids)
        self.work_off()

    def work_off(self) -> None:
        """Work until nothing is left, waits included."""
        self.deployment.run()
        while self.deployment.left():
            expire_units(self.state, "waiting")
            self.deployment.sweeper.once()
            self.deployment.run()

    def calls(self, endpoint: Endpoint) -> int:
        """Count the calls that reached the API."""
        return sum(count for (name, _), count in self.api.calls().items() if name is endpoint)

    def documents(self, request_id: str = "r1") -> int:
        """Count the stored versions of a request's document."""
        folder: Path = self.settings.data_dir / "documents" / "default" / request_id
        return len(list(folder.glob("*.pdf*")))

    def model(self, request_id: str = "r1") -> dict[str, Any]:
        """Return the read model."""
        return stored_model(self.state, f"default:signature_request/{request_id}")

    def report(self, number: int = -1) -> dict[str, Any]:
        """Return what ``deedbox.reconciled`` said, without its time."""
        event, _ = self.told.calls[number]
        return {name: value for name, value in event.payload.items() if name != "at"}

    def forget_the_fetch(self) -> None:
        """Lose what ``fetch_documents`` was about to do, as an operator who discards its dead letter does."""
        for key in self.state.keys(keys.queue("fetch_documents|*")):
            self.state.delete(key)
        self.state.delete(keys.action("fetch_documents", "waiting"), keys.action("fetch_documents", "ready"))


def settings_for(redis_url: str, api_url: str, folder: Path, **more: str) -> dict[str, str]:
    """Return the environment of a deployment against the simulated API."""
    return {
        "DEEDBOX_API_KEYS": API_KEY, "DEEDBOX_API_URL": api_url, "DEEDBOX_REDIS_URL": redis_url,
        "DEEDBOX_DATA_DIR": str(folder), "DEEDBOX_FILES_PER_MINUTE": "1000", "DEEDBOX_TEST_FILES_PER_MINUTE": "1000",
        "DEEDBOX_API_PER_MINUTE": "1000", **more,
    }  # fmt: skip


def open_desk(api: FilesApi, state: Redis, environ: dict[str, str], hold_s: float = 0.0) -> GapsDesk:
    """Build the deployment."""
    settings = Settings.load(environ)
    process = Process(settings)
    built = [process.registry.get(name) for name in BUILTINS]
    told, stored, seen = Journal(), Journal(), Journal()
    hooks = [
        action(seen, "*", name="seen", lane="hooks"),
        action(told, "deedbox.reconciled", name="told", lane="hooks"),
        action(stored, "deedbox.document_stored", name="stored", lane="hooks"),
    ]
    deployment = Deployment(
        state, *(each for each in built if each), *hooks,
        order=OrderingPolicy(hold_s=hold_s), gap_after_s=settings.gap_look_after_s,
        synthesises=settings.synthesise == "on",
    )  # fmt: skip
    return GapsDesk(api, state, settings, deployment, told, stored, seen)


Open = Callable[..., GapsDesk]
"""Builds a deployment: the API's policy, ``hold_s``, and settings."""


@contextmanager
def gap_desks(
    redis_url: str, state: Redis, folder: Path, *known: dict[str, Any], **settings: str
) -> Iterator[Open]:
    """Lend a function that builds a deployment with these settings, and an API of its own that shows ``known``."""
    with ExitStack() as apis:

        def build(policy: FilesApiPolicy = GENEROUS, hold_s: float = 0.0, **more: str) -> GapsDesk:
            api = started_api(policy)
            apis.callback(api.stop)
            for each in known:
                api.state.put(each)
            environ = settings_for(redis_url, api.url, folder, **{**settings, **more})
            return open_desk(api, state, environ, hold_s)

        yield build


def started_api(policy: FilesApiPolicy = GENEROUS) -> FilesApi:
    """Start the simulated API; the caller stops it."""
    api = FilesApi(Account(API_KEY), policy)
    api.start()
    return api
