"""``fetch_documents`` through the vendor's own SDK, against the simulated API over HTTP."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, jsonify, request
from redis import Redis

from shared import keys
from shared.budgets import account_of
from shared.core.attempts import Entry
from shared.settings import Settings
from shared.simulator.api_state import Endpoint, FilesApiPolicy
from shared.simulator.files_api import FilesApi
from shared.simulator.lifecycle import Account
from shared.simulator.loopback import LoopbackServer
from shared.simulator.paper import render_pdf, render_zip
from tests.component.workers.rig import (
    CREATED_AT,
    TRACE,
    Deployment,
    Journal,
    P,
    action,
    callback,
    expire,
    members,
)
from tests.component.workers.server import RedisServer
from workers.actions.fetch_documents import FetchDocuments
from workers.actions.registry import RegisteredAction
from workers.api import Budget, SignApi
from workers.bootstrap import Process

pytestmark = pytest.mark.real_redis

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
        expire(self.state, keys.lane(LANE, "waiting"))
        self.deployment.sweeper.once()
        self.deployment.run()

    def calls(self, endpoint: Endpoint = Endpoint.FILES) -> int:
        """Count the calls that reached the API."""
        return sum(count for (name, _), count in self.api.calls().items() if name is endpoint)

    def waits(self) -> bool:
        """Tell whether the action waits for another try."""
        return self.deployment.waiting(LANE) > 0 and not self.deployment.letters()

    def files(self, request_id: str = "r1") -> dict[str, Path]:
        """Return the stored files by name."""
        folder = self.settings.documents_dir / "default" / request_id
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


def test_the_final_document_is_stored_with_its_facts(desk: Desk) -> None:
    desk.happen(DOWNLOADABLE)
    sha256 = desk.sha256()
    assert set(desk.files()) == {f"{sha256}.pdf", f"{sha256}.json"}
    data = desk.files()[f"{sha256}.pdf"].read_bytes()
    assert hashlib.sha256(data).hexdigest() == sha256
    sidecar = desk.sidecars()[sha256]
    assert abs(sidecar.pop("fetched_at") - time.time()) < 60
    assert sidecar == {
        "signature_request_id": "r1", "title": "Lease 7/12", "signers": 1, "test_mode": False, "sha256": sha256,
        "size": len(data), "file": f"{sha256}.pdf", "version": "current", "trace_id": TRACE,
    }  # fmt: skip


def test_a_users_action_learns_where_the_document_is(desk: Desk) -> None:
    desk.happen(DOWNLOADABLE)
    [(event, _)] = desk.stored.calls
    path = desk.files()[f"{desk.sha256()}.pdf"]
    assert event.payload == {
        "url": path.resolve().as_uri(), "sha256": desk.sha256(), "size": path.stat().st_size,
        "signature_request_id": "r1",
    }  # fmt: skip
    assert (event.type, event.signature_request_id) == ("deedbox.document_stored", "r1")
    assert "document" in desk.deployment.kinds()


@pytest.mark.parametrize("status", [409, 429, 500, 503])
@pytest.mark.parametrize("endpoint", [Endpoint.REQUEST, Endpoint.FILES])
def test_what_may_pass_is_waited_for(desk: Desk, status: int, endpoint: Endpoint) -> None:
    desk.api.script("r1", [status], endpoint)
    desk.happen(DOWNLOADABLE)
    assert desk.waits()
    desk.state.delete("none", *desk.state.keys(keys.PREFIX + "api:pause:*"))
    desk.go_on()
    assert len(desk.sidecars()) == 1
    assert desk.stored.calls[0][1].attempt == 1


@pytest.mark.parametrize("status", [400, 401, 402, 403, 410])
@pytest.mark.parametrize("endpoint", [Endpoint.REQUEST, Endpoint.FILES])
def test_what_will_not_change_by_waiting_is_a_dead_letter_at_once(
    desk: Desk, status: int, endpoint: Endpoint
) -> None:
    desk.api.script("r1", [status] * 2, endpoint)
    desk.happen(DOWNLOADABLE)
    [letter] = desk.deployment.letters()
    assert letter["reason"] == b"rejected"
    assert str(status).encode() in letter["detail"]
    assert desk.files() == {}


def test_a_request_that_is_not_known_yet_gets_a_short_grace(desk: Desk) -> None:
    desk.api.script("r1", [404] * 2, Endpoint.REQUEST)
    desk.happen(DOWNLOADABLE)
    assert desk.waits()
    desk.go_on()
    assert desk.waits()
    desk.go_on()
    assert len(desk.sidecars()) == 1


def test_a_request_that_stays_unknown_is_a_dead_letter(desk: Desk) -> None:
    desk.api.script("r1", [404] * 2, Endpoint.REQUEST)
    desk.happen(DOWNLOADABLE)
    desk.fetch._clock = lambda: time.time() + 61
    desk.go_on()
    assert desk.deployment.reasons() == ["rejected"]


def test_files_in_error_are_a_dead_letter(desk: Desk) -> None:
    desk.api.state.put(shown(has_error=True))
    desk.happen(DOWNLOADABLE)
    assert b"has_error" in desk.deployment.letters()[0]["detail"]


def test_unprocessable_files_without_an_error_are_waited_for(desk: Desk) -> None:
    desk.api.script("r1", [422])
    desk.happen(DOWNLOADABLE)
    assert desk.waits()
    desk.go_on()
    assert len(desk.sidecars()) == 1


def test_a_rate_limit_is_waited_out_as_its_header_says_and_no_call_goes_out(open_desk: Open) -> None:
    desk = open_desk(FilesApiPolicy(not_ready_max=0, file_calls_per_window=0, window_s=3600))
    desk.happen(DOWNLOADABLE)
    [unit] = members(desk.state, keys.lane(LANE, "waiting"))
    due_at = desk.state.zscore(keys.lane(LANE, "waiting"), unit) or 0
    window_ends_at = (int(time.time()) // 3600 + 1) * 3600
    assert abs(due_at - window_ends_at) < 5
    calls = desk.calls() + desk.calls(Endpoint.REQUEST)
    desk.happen(DOWNLOADABLE, request_id="r2")
    assert desk.calls() + desk.calls(Endpoint.REQUEST) == calls


def test_the_last_call_of_a_window_is_the_last_one(open_desk: Open) -> None:
    """``Remaining: 0`` came with a 200: the document is stored, and nobody calls until the reset."""
    desk = open_desk(FilesApiPolicy(not_ready_max=0, file_calls_per_window=1, window_s=3600))
    desk.happen(DOWNLOADABLE)
    assert len(desk.sidecars()) == 1
    desk.api.state.put(shown("r2"))
    desk.happen(DOWNLOADABLE, request_id="r2")
    assert desk.waits()
    assert (desk.calls(), desk.calls(Endpoint.REQUEST)) == (1, 1)


def test_a_used_up_budget_is_a_wait_without_a_call(open_desk: Open) -> None:
    desk = open_desk(DEEDBOX_API_PER_MINUTE="1")
    desk.happen(DOWNLOADABLE)
    desk.api.state.put(shown("r2"))
    desk.happen(DOWNLOADABLE, request_id="r2")
    assert desk.waits()
    assert (desk.calls(), desk.calls(Endpoint.REQUEST)) == (1, 1)
    [unit] = members(desk.state, keys.lane(LANE, "waiting"))
    wait_s = (desk.state.zscore(keys.lane(LANE, "waiting"), unit) or 0) - time.time()
    assert 30 < wait_s <= 61


def test_a_used_up_file_budget_is_a_wait_without_a_call(open_desk: Open) -> None:
    desk = open_desk(DEEDBOX_FILES_PER_MINUTE="1")
    desk.happen(DOWNLOADABLE)
    desk.api.state.put(shown("r2"))
    desk.happen(DOWNLOADABLE, request_id="r2")
    for _ in range(5):
        desk.go_on()
    assert desk.waits()
    assert (desk.calls(), desk.calls(Endpoint.REQUEST)) == (1, 1)


def test_requests_in_test_mode_have_a_budget_of_their_own(open_desk: Open) -> None:
    desk = open_desk(DEEDBOX_TEST_FILES_PER_MINUTE="1")
    for request_id in ("t1", "t2", "r1"):
        desk.api.state.put(shown(request_id, test_mode=request_id != "r1"))
        desk.happen(DOWNLOADABLE, request_id=request_id)
    assert [bool(desk.sidecars(request_id)) for request_id in ("t1", "t2", "r1")] == [True, False, True]


def test_processes_share_the_budget(redis_server: RedisServer, state: Redis) -> None:
    with redis_server.client() as other:
        budgets = [Budget(client, {"files": 10}) for client in (state, other)]
        taken = [0, 0]

        def take(number: int) -> None:
            for _ in range(20):
                taken[number] += budgets[number].wait_s("files", "account") == 0

        threads = [threading.Thread(target=take, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sum(taken) == 10


def test_an_account_is_named_without_its_key() -> None:
    assert API_KEY not in account_of(API_KEY)


def test_a_partly_signed_copy_is_never_stored(desk: Desk) -> None:
    """An intermediate ``downloadable``: the API would give a copy, with 200."""
    desk.api.state.put(shown(is_complete=False))
    desk.happen(DOWNLOADABLE)
    assert (desk.files(), desk.calls(), desk.deployment.left()) == ({}, 0, 0)
    desk.api.state.put(shown())
    desk.happen(DOWNLOADABLE, 5, is_complete=True)
    assert list(desk.sidecars()) == [desk.sha256()]


def test_a_completion_that_the_api_does_not_show_yet_is_waited_for(desk: Desk) -> None:
    desk.api.state.put(shown(is_complete=False))
    desk.happen(DOWNLOADABLE, is_complete=True)
    assert desk.waits()
    desk.api.state.put(shown())
    desk.go_on()
    assert len(desk.sidecars()) == 1


def test_without_a_downloadable_the_document_is_fetched_after_a_grace(desk: Desk) -> None:
    desk.happen(ALL_SIGNED)
    desk.go_on()
    assert desk.waits()
    assert desk.calls(Endpoint.REQUEST) == 0
    desk.fetch._clock = lambda: time.time() + 61
    desk.go_on()
    assert len(desk.sidecars()) == 1
    assert len(desk.stored.calls) == 1


def test_a_downloadable_in_time_makes_the_grace_end_without_another_call(desk: Desk) -> None:
    desk.happen(ALL_SIGNED)
    desk.happen(DOWNLOADABLE, 1)
    assert len(desk.sidecars()) == 1
    desk.go_on()
    assert (desk.calls(), desk.deployment.left()) == (1, 0)


def test_a_later_downloadable_is_fetched_once_more_and_other_bytes_become_current(desk: Desk) -> None:
    desk.happen(DOWNLOADABLE)
    first = desk.sha256()
    desk.api.state.revise("r1")
    desk.happen(DOWNLOADABLE, 5)
    second = desk.sha256()
    assert {digest: row["version"] for digest, row in desk.sidecars().items()} == {
        first: "superseded", second: "current",
    }  # fmt: skip
    assert {f"{first}.pdf", f"{second}.pdf"} <= set(desk.files())
    assert [event.payload["sha256"] for event, _ in desk.stored.calls] == [first, second]
    desk.happen(DOWNLOADABLE, 9)
    assert desk.calls() == 2


def test_the_same_bytes_again_are_no_new_document(desk: Desk) -> None:
    desk.happen(DOWNLOADABLE)
    desk.happen(DOWNLOADABLE, 5)
    assert (desk.calls(), len(desk.sidecars()), len(desk.stored.calls)) == (2, 1, 1)


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it runs."""


def test_a_call_repeated_after_a_crash_fetches_nothing_twice_and_still_tells(desk: Desk) -> None:
    """The crash came between the record of the document and the commit of the call."""
    lane = desk.deployment.lanes[LANE]

    def die(batch: Any) -> None:  # noqa: ARG001 - the method's name for it
        raise Killed

    commit, lane._commit = lane._commit, die  # type: ignore[method-assign]
    desk.deployment.deliver(callback(DOWNLOADABLE))
    desk.deployment.drain()
    with pytest.raises(Killed):
        desk.deployment.work(LANE)
    lane._commit = commit  # type: ignore[method-assign]
    assert (desk.calls(), desk.stored.calls) == (1, [])
    expire(desk.state, keys.lane(LANE, "leased"))
    desk.deployment.sweeper.once()
    desk.deployment.run()
    assert (desk.calls(), len(desk.stored.calls)) == (1, 1)


def test_a_crash_after_the_record_does_not_keep_the_requests_other_events_waiting(desk: Desk) -> None:
    """The killed call's mark lives for minutes; the call that repeats it takes it away, though it fetches nothing."""
    desk.happen(DOWNLOADABLE)
    record = json.loads(desk.state.get(keys.document("default:signature_request/r1")) or b"")
    (mark,) = record["fetched_by"]
    desk.state.set(keys.fetching("default:signature_request/r1"), mark)
    fingerprint = mark.partition(":")[0]
    entry = Entry(fingerprint, enqueued_at=0.0).pack()
    unit = f"fetch_documents|default:signature_request/r1|{fingerprint}"
    desk.state.rpush(keys.queue(unit), entry)
    desk.state.zadd(keys.lane(LANE, "ready"), {unit: 0})
    desk.deployment.work(LANE)
    assert desk.state.get(keys.fetching("default:signature_request/r1")) is None


def test_a_fetch_that_was_killed_is_taken_up_by_the_same_event_at_once(desk: Desk) -> None:
    """The mark that excludes a second fetch outlives the killed process by minutes."""
    seen: list[str] = []

    def spy(event: Any, context: Any) -> None:
        seen.append(context.idempotency_key)
        desk.state.set(keys.fetching("default:signature_request/r1"), context.idempotency_key)
        desk_fetch(event, context)

    desk_fetch = desk.fetch
    registered = desk.deployment.registry.get("fetch_documents")
    assert registered is not None
    object.__setattr__(registered, "function", spy)
    desk.happen(DOWNLOADABLE)
    assert (len(seen), len(desk.sidecars())) == (1, 1)


def test_another_fetch_of_the_same_request_is_waited_for(desk: Desk) -> None:
    desk.state.set(keys.fetching("default:signature_request/r1"), "somebody")
    desk.happen(DOWNLOADABLE)
    assert desk.waits()
    assert desk.calls() == 0
    assert desk.state.get(keys.fetching("default:signature_request/r1")) == b"somebody"


@pytest.mark.parametrize("request_id", ["../../etc/passwd", "a/b", "a.b", "é", "x" * 129])
def test_an_id_that_is_no_file_name_is_refused_without_a_call(desk: Desk, request_id: str) -> None:
    desk.happen(DOWNLOADABLE, request_id=request_id)
    assert desk.deployment.reasons() == ["rejected"]
    assert desk.calls(Endpoint.REQUEST) == 0
    assert not desk.settings.documents_dir.exists()


def test_separate_files_come_as_a_zip_if_set_so(open_desk: Open) -> None:
    desk = open_desk(DEEDBOX_DOCUMENT_TYPE="zip")
    desk.happen(DOWNLOADABLE)
    sha256 = desk.sha256("zip")
    assert set(desk.files()) == {f"{sha256}.zip", f"{sha256}.json"}


def test_an_api_that_is_down_is_waited_for(desk: Desk) -> None:
    desk.api.stop()
    desk.happen(DOWNLOADABLE)
    assert desk.waits()


def test_a_source_that_is_not_defined_any_more_is_a_dead_letter(desk: Desk) -> None:
    desk.deployment.deliver(callback(DOWNLOADABLE), source="gone")
    desk.deployment.run()
    assert b"DEEDBOX_SOURCES" in desk.deployment.letters()[0]["detail"]


PDF = render_pdf(["x"])
ZIP = render_zip([("a.pdf", PDF)])


def _serve(answer: Callable[[], Response]) -> LoopbackServer:
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


@pytest.mark.parametrize(
    ("kind", "body", "headers", "outcome"),
    [
        ("pdf", b"<html>maintenance</html>", {}, "rejected"),
        ("pdf", ZIP, {}, "rejected"),
        ("zip", PDF, {}, "rejected"),
        ("pdf", PDF[: len(PDF) // 2], {}, "waits"),
        ("zip", ZIP[: len(ZIP) // 2], {}, "waits"),
        ("pdf", PDF, {"Content-Length": str(len(PDF) + 10), "Connection": "close"}, "waits"),
    ],
    ids=["a page", "a zip for a pdf", "a pdf for a zip", "half a pdf", "half a zip", "a broken connection"],
)
def test_what_is_no_whole_document_is_never_stored(
    open_desk: Open, kind: str, body: bytes, headers: dict[str, str], outcome: str
) -> None:
    server = _serve(lambda: Response(iter([body]), headers=headers, mimetype="application/pdf"))
    try:
        desk = open_desk(DEEDBOX_DOCUMENT_TYPE=kind, DEEDBOX_API_URL=server.url + "/v3")
        desk.happen(DOWNLOADABLE)
    finally:
        server.stop()
    assert desk.files() == {}
    assert (desk.waits(), desk.deployment.reasons()) == (
        (True, []) if outcome == "waits" else (False, ["rejected"])
    )


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "endless"])
def test_a_document_over_the_cap_is_a_dead_letter_that_names_the_setting_and_is_not_read_on(
    open_desk: Open, *, announced: bool
) -> None:
    sent_bytes = [0]

    def pieces() -> Iterator[bytes]:
        for _ in range(64 if announced else 10_000):
            sent_bytes[0] += 1024 * 1024
            yield PDF.ljust(1024 * 1024)

    headers = {"Content-Length": str(64 * 1024 * 1024)} if announced else {}
    server = _serve(lambda: Response(pieces(), headers=headers, mimetype="application/pdf"))
    try:
        desk = open_desk(DEEDBOX_DOCUMENT_MAX_BYTES="2097152", DEEDBOX_API_URL=server.url + "/v3")
        desk.happen(DOWNLOADABLE)
    finally:
        server.stop()
    [letter] = desk.deployment.letters()
    assert (letter["reason"], desk.files()) == (b"rejected", {})
    assert b"DEEDBOX_DOCUMENT_MAX_BYTES" in letter["detail"]
    assert sent_bytes[0] < 32 * 1024 * 1024  # what sockets buffer, and no more


def test_a_tls_failure_is_waited_for(open_desk: Open) -> None:
    """The SDK reports it with an exception of its own."""
    server = _serve(lambda: Response(PDF))
    try:
        desk = open_desk(DEEDBOX_API_URL=server.url.replace("http:", "https:") + "/v3")
        desk.happen(DOWNLOADABLE)
    finally:
        server.stop()
    assert desk.waits()


def test_the_remaining_limit_is_read_under_either_name() -> None:
    for name in ("X-RateLimit-Remaining", "x-ratelimit-limit-remaining"):
        headers = {name: "0", "X-Ratelimit-Reset": "4102444800"}
        server = _serve(partial(Response, PDF, headers=headers))
        try:
            answer = SignApi(server.url + "/v3", API_KEY).files("r1", "pdf")
        finally:
            server.stop()
        assert answer.status == 200
        assert answer.reset_at is not None
        assert 3500 < answer.reset_at - time.time() <= 3600


def test_the_action_runs_on_its_own_lane_unordered(desk: Desk) -> None:
    registered = desk.deployment.registry.get("fetch_documents")
    assert isinstance(registered, RegisteredAction)
    assert (registered.lane, registered.ordered) == (LANE, False)
