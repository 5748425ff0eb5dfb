"""Redirects of the API: followed to where a document may come from, and the account's key goes nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from flask import Flask, Response, jsonify, redirect, request
from urllib3 import HTTPResponse
from werkzeug.wrappers import Response as BaseResponse

from deedbox.shared.simulator.loopback import LoopbackServer
from deedbox.workers.dropbox_sign.client import SignApi
from deedbox.workers.dropbox_sign.redirects import REDIRECTS_MAX, followed
from tests.component.workers.fetch_desk import API_KEY, DOWNLOADABLE, PDF, Open, open_desk, shown

__all__ = ["open_desk"]

pytestmark = pytest.mark.real_redis

FILES = "/v3/signature_request/files/r1"


@dataclass
class Host:
    """A server that notes whether the account's key came along."""

    server: LoopbackServer
    asked: list[tuple[str, bool]] = field(default_factory=list)
    """Path, and whether it came with the key."""
    files: Callable[[], BaseResponse] = lambda: Response(PDF)
    facts: Callable[[], BaseResponse] = lambda: jsonify(signature_request=shown())


def host(address: str) -> Host:
    """Start a server on a loopback address of its own: another host, as far as credentials are concerned."""
    app = Flask("host")
    found = Host(LoopbackServer(app, address))

    @app.before_request
    def note() -> None:
        found.asked.append((request.path, "Authorization" in request.headers))

    @app.get("/v3/signature_request/<_id>")
    def facts(_id: str) -> BaseResponse:
        return found.facts()

    @app.get("/v3/signature_request/files/<_id>")
    def files(_id: str) -> BaseResponse:
        return found.files()

    @app.get("/storage/<_name>")
    def storage(_name: str) -> BaseResponse:
        return Response(PDF)

    @app.get("/hop/<int:left>")
    def hop(left: int) -> BaseResponse:
        return redirect(f"/hop/{left - 1}" if left else "/storage/x")

    found.server.start()
    return found


@pytest.fixture
def api() -> Iterator[Host]:
    started = host("127.0.0.1")
    yield started
    started.server.stop()


@pytest.fixture
def storage() -> Iterator[Host]:
    started = host("127.0.0.2")
    yield started
    started.server.stop()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_document_behind_a_redirect_to_another_host_is_stored_and_the_key_stays_here(
    open_desk: Open, api: Host, storage: Host, status: int
) -> None:
    api.files = lambda: redirect(storage.server.url + "/storage/r1.pdf?X-Amz-Signature=abc", status)
    desk = open_desk(DEEDBOX_API_URL=api.server.url + "/v3")
    desk.happen(DOWNLOADABLE, is_complete=True)
    assert len(desk.sidecars()) == 1
    assert api.asked[-1] == (FILES, True)
    assert storage.asked == [("/storage/r1.pdf", False)]


def test_a_redirect_on_the_api_itself_keeps_the_key(api: Host) -> None:
    api.files = lambda: redirect("/storage/r1.pdf")
    answer = SignApi(api.server.url + "/v3", API_KEY).files("r1", "pdf")
    assert (answer.status, answer.body) == (200, PDF)
    assert api.asked[-1] == ("/storage/r1.pdf", True)


def test_redirects_are_followed_a_few_times_only(api: Host) -> None:
    client = SignApi(api.server.url + "/v3", API_KEY)
    api.files = lambda: redirect(f"/hop/{REDIRECTS_MAX - 2}")
    assert client.files("r1", "pdf").body == PDF
    api.asked.clear()
    api.files = lambda: redirect("/hop/100")
    assert client.files("r1", "pdf").status == 302
    assert len(api.asked) == 1 + REDIRECTS_MAX


@pytest.mark.parametrize(
    "location",
    ["http://192.0.2.1/x.pdf", "ftp://127.0.0.1/x.pdf", "file:///etc/passwd", ""],
)
def test_a_redirect_to_where_no_document_may_come_from_is_not_followed(
    open_desk: Open, api: Host, location: str
) -> None:
    """Plain http beyond this machine, and what is no address of the web: nothing is asked there."""
    api.files = lambda: Response(status=302, headers={"Location": location})
    desk = open_desk(DEEDBOX_API_URL=api.server.url + "/v3")
    desk.happen(DOWNLOADABLE, is_complete=True)
    assert (desk.files(), desk.waits()) == ({}, True)
    [line] = [line for line in desk.deployment.timeline() if line["kind"] == "retry"]
    assert "no redirect that may be followed" in line["detail"]
    api.files = lambda: Response(PDF)
    desk.go_on()
    assert len(desk.sidecars()) == 1


@pytest.mark.parametrize("location", ["http://[", "http://127.0.0.1:99999/"])
def test_what_is_no_url_is_not_followed(location: str) -> None:
    answer = HTTPResponse(status=302, headers={"Location": location}, request_url=FILES)
    base = "http://127.0.0.1:1/v3"
    # A pool that is None: nothing may be asked.
    assert followed(None, answer, base, API_KEY, (1.0, 1.0), elsewhere=True) is answer


def test_facts_are_read_from_the_api_only(open_desk: Open, api: Host, storage: Host) -> None:
    """What is believed must come from where the key goes."""
    api.facts = lambda: redirect(storage.server.url + "/v3/signature_request/r1")
    desk = open_desk(DEEDBOX_API_URL=api.server.url + "/v3")
    desk.happen(DOWNLOADABLE, is_complete=True)
    assert (desk.files(), desk.waits(), storage.asked) == ({}, True, [])


def test_a_public_api_sends_nobody_to_this_machine() -> None:
    base = "https://api.example.com/v3"
    for location in ("http://127.0.0.1:8001/", "http://localhost/", "http://api.example.com/x.pdf"):
        answer = HTTPResponse(status=302, headers={"Location": location}, request_url=FILES)
        assert followed(None, answer, base, API_KEY, (1.0, 1.0), elsewhere=True) is answer
