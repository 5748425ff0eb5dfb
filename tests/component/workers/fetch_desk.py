"""``fetch_documents`` as a process builds it, through the vendor's own SDK, against the simulated API over HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, jsonify, request
from redis import Redis

from deedbox.shared.settings import Settings
from deedbox.shared.simulator.api_state import Endpoint, FilesApiPolicy
from deedbox.shared.simulator.files_api import FilesApi
from deedbox.shared.simulator.lifecycle import Account
from deedbox.shared.simulator.loopback import LoopbackServer
from deedbox.shared.simulator.paper import render_pdf, render_zip
from deedbox.workers.builtins.fetch_documents import FetchDocuments
from deedbox.workers.process import Process
from tests.component.workers.rig import (
    CREATED_AT,
    Deployment,
    Journal,
    P,
    action,
    callback,
    expire_units,
)
from tests.component.workers.server import RedisServer

API_KEY = "324e3b0840f065eb51f3fd63231d0d33daa35d4ed10d27718839e81737065782"
GENEROUS = FilesApiPolicy(not_ready_max=0, calls_per_window=10_000, file_calls_per_window=10_000)
LANE = "documents"
DOWNLOADABLE, ALL_SIGNED = P + "downloadable", P + "all_signed"


def shown(request_id: str = "r1", **changes: Any) -> dict[str, Any]:
    """Return what the API shows of a request; complete unless told otherwise."""
    return {
        "signature_request_id": request_id, "title": "Lease 7/12", "test_mode": False, "is_complete": True,
        "has_error": False, "created_at": CREATED_AT, "signatures": [{"signature_id": "s1", "status_code": "signed"}],
        **changes,
    }  # fmt: skip


@dataclass
class Desk:
    """The action as a process builds it, on a lane of its own."""

    api: FilesApi
    state: Redis
    settings: Settings
    deployment: Deployment
    stored: Journal
    """Calls of a user's action for ``deedbox.document_stored``."""

    @property
    def fetch(self) -> FetchDocuments:
        registered = self.deployment.registry.get("fetch_documents")
        assert registered is not None
        assert isinstance(registered.function, FetchDocuments)
        return registered.function

    def happen(self, event_type: str, at_s: int = 0, request_id: str = "r1", **payload: Any) -> None:
        """Deliver a callback and work off what is ready."""
        self.deployment.deliver(callback(event_type, at_s, request_id, **payload))
        self.deployment.run()

    def go_on(self) -> None:
        """Let every wait be over."""
        expire_units(self.state, "waiting")
        self.deployment.sweeper.once()
        self.deployment.run()

    def calls(self, endpoint: Endpoint = Endpoint.FILES) -> int:
        """Count the calls that reached the API."""
        return sum(count for (name, _), count in self.api.calls().items() if name is endpoint)

    def waits(self) -> bool:
        """Tell whether the action waits for another try."""
        return self.deployment.waiting() > 0 and not self.deployment.letters()

    def files(self, request_id: str = "r1") -> dict[str, Path]:
        """Return the stored files by name."""
        folder = self.settings.data_dir / "documents" / "default" / request_id
        return {path.name: path for path in folder.glob("*")}

    def sidecars(self, request_id: str = "r1") -> dict[str, dict[str, Any]]:
        """Return the sidecars by digest."""
        found = self.files(request_id).values()
        return {path.stem: json.loads(path.read_bytes()) for path in found if path.suffix == ".json"}

    def sha256(self, kind: str = "pdf") -> str:
        """Return the digest of what the API gives."""
        return self.api.sha256_of("r1", kind)


Open = Callable[..., Desk]


@pytest.fixture
def open_desk(redis_server: RedisServer, state: Redis, tmp_path: Path) -> Iterator[Open]:
    started: list[FilesApi] = []

    def begin(policy: FilesApiPolicy = GENEROUS, **settings: str) -> Desk:
        api = FilesApi(Account(API_KEY), policy)
        api.start()
        started.append(api)
        loaded = Settings.load({
            "DEEDBOX_API_KEYS": API_KEY, "DEEDBOX_API_URL": api.url, "DEEDBOX_REDIS_URL": redis_server.url,
            "DEEDBOX_DATA_DIR": str(tmp_path), "DEEDBOX_FILES_PER_MINUTE": "1000", "DEEDBOX_API_PER_MINUTE": "1000",
            "DEEDBOX_DOWNLOADABLE_GRACE_S": "60", **settings,
        })  # fmt: skip
        process = Process(loaded)
        built = process.registry.get("fetch_documents")
        assert built is not None
        stored = Journal()
        hook = action(stored, "deedbox.document_stored", name="hook", lane="hooks")
        deployment = Deployment(state, built, hook)
        api.state.put(shown())
        return Desk(api, state, loaded, deployment, stored)

    yield begin
    for api in started:
        api.stop()


@pytest.fixture
def desk(open_desk: Open) -> Desk:
    return open_desk()


PDF = render_pdf(["x"])
ZIP = render_zip([("a.pdf", PDF)])


def serve(answer: Callable[[], Response]) -> LoopbackServer:
    """Serve any answer to a download, for what the simulator never does."""
    app = Flask("odd")

    @app.get("/v3/signature_request/<_id>")
    def one(_id: str) -> Response:
        return jsonify(signature_request=shown(_id))

    @app.get("/v3/signature_request/files/<_id>")
    def files(_id: str) -> Response:
        assert request.args["file_type"] in {"pdf", "zip"}
        return answer()

    server = LoopbackServer(app)
    server.start()
    return server
