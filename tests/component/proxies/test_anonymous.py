"""Through a stock proxy nobody reads anything personal without a token, whatever headers the proxy does not add."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import quote

import pytest
import urllib3
from redis import Redis

from deedbox.ops.web.app import create_app
from deedbox.shared.documents import DocumentStore, FileTree
from deedbox.shared.redis import keys
from deedbox.shared.settings import Settings
from deedbox.workers.actions.interface import Context, Event, Reject, Retry
from deedbox.workers.builtins import track_status
from tests.component.ops_web.asking import PDF, remember
from tests.component.ops_web.conftest import TOKEN, Ops
from tests.component.workers.rig import Deployment, action, members, sent, viewed

pytestmark = pytest.mark.real_redis

REQUEST: Final = "personal-request-id"
TITLE: Final = "Personal title of Jane"
PERSONAL: Final = (REQUEST.encode(), TITLE.encode(), PDF, b"jane.doe@signer.example")
OPEN: Final = {
    "/healthz",
    "/metrics",
    "/api/queues",
    "/login",
    "/static/deedbox.css",
    "/sign-in",
    "/logout",
}
"""What answers without a token, and therefore must not be personal."""


QUERIES: Final = {
    "api.events": "?payload=1", "requests.search": "?q=Jane", "dead.plan": "?do=redrive&all=1",
    "plans.plan": "?kind=source&name=default",
}  # fmt: skip


def _reject(_event: Event, _context: Context) -> None:
    raise Reject(f"no: {TITLE}")


def _retry(_event: Event, _context: Context) -> None:
    raise Retry(f"later: {TITLE}", after=600)


@pytest.fixture(autouse=True)
def personal(state: Redis, data_dir: Path) -> str:
    """Leave something personal in every place: a request, a document, dead letters, a call that waits."""
    deployment = Deployment(
        state,
        track_status.registered(),
        action(_reject, "signature_request_viewed", name="crm"),
        action(_retry, "signature_request_sent", name="later"),
    )
    signer = {"signature_id": "s1", "signer_email_address": "jane.doe@signer.example"}
    deployment.deliver(
        sent(request_id=REQUEST, title=TITLE, signatures=[signer]), viewed(5, REQUEST, title=TITLE)
    )
    deployment.run()
    remember(state, DocumentStore(FileTree(data_dir / "documents")), REQUEST, PDF)
    return members(state, keys.DEAD)[0].decode()


def _paths(letter: str, data_dir: Path) -> list[tuple[str, str]]:
    """Return every route of the application with every method, filled with what there is."""
    app = create_app(Settings.load({"DEEDBOX_DATA_DIR": str(data_dir), "DEEDBOX_OPS_TOKEN": TOKEN}))
    values = {
        "request_id": REQUEST, "n": "1", "source": "default", "ordering_key": f"signature_request/{REQUEST}",
        "letter_id": letter, "filename": "deedbox.css", "name": "pause",
    }  # fmt: skip
    urls = app.url_map.bind("localhost")
    found = []
    for rule in app.url_map.iter_rules():
        path = urls.build(rule.endpoint, {name: values[name] for name in rule.arguments})
        path += QUERIES.get(rule.endpoint, "")
        found += [(method, path) for method in sorted((rule.methods or set()) - {"OPTIONS"})]
    return found


def test_nobody_reads_anything_personal_through_a_proxy(
    proxied: Ops, ops: Ops, personal: str, data_dir: Path
) -> None:
    """With a token everything is there, so that a 401 is not the answer to a wrong address."""
    asked = _paths(personal, data_dir)
    assert len(asked) > 30
    for method, path in asked:
        anonymous = proxied.request(method, path, token=None)
        where = (method, path, anonymous.status)
        # A redirect repeats the address that was asked for, and nothing else.
        known = anonymous.data.replace(quote(path).encode(), b"").replace(path.encode(), b"")
        assert not any(each in known for each in PERSONAL), where
        if path in OPEN:
            continue
        leads_to_sign_in = (
            anonymous.status == 302
            and method in {"GET", "HEAD"}
            and anonymous.headers["Location"].startswith("/login?next=")
        )
        assert anonymous.status == 401 or leads_to_sign_in, where
        if method == "GET":
            direct = ops.request("GET", path, token=None)
            assert direct.status == anonymous.status, where


def test_with_a_token_the_same_addresses_answer(proxied: Ops, personal: str, data_dir: Path) -> None:
    read = {
        path: proxied.request("GET", path) for method, path in _paths(personal, data_dir) if method == "GET"
    }
    assert {answer.status for path, answer in read.items() if path not in OPEN} == {200}
    assert read[f"/api/requests/{REQUEST}/documents/1"].data == PDF
    assert TITLE.encode() in read["/api/events?payload=1"].data


def test_what_a_token_was_given_no_cache_gives_to_anybody(proxied: Ops) -> None:
    for path in (f"/api/requests/{REQUEST}/documents/1", f"/api/requests/{REQUEST}", "/api/events?payload=1"):
        assert [proxied.request("GET", path).status for _ in range(2)] == [200, 200]
        answer = proxied.request("GET", path, token=None)
        assert (answer.status, answer.headers.get("X-Cache")) in {(401, None), (401, "MISS")}


def test_what_answers_anybody_on_this_machine_has_figures_only(ops: Ops) -> None:
    """Among them are the ids of requests that wait, which a token shows."""
    anonymous, known = ops.request("GET", "/api/queues", token=None), ops.request("GET", "/api/queues")
    assert set(anonymous.json()) == {"stages", "counters"}
    assert anonymous.json()["stages"] == {
        name: {**stage, "oldest_age_s": anonymous.json()["stages"][name]["oldest_age_s"]}
        for name, stage in known.json()["stages"].items()
    }
    assert REQUEST in str(known.json()["waiting"])
    for path in ("/metrics", "/healthz"):
        answer = ops.request("GET", path, token=None)
        assert answer.status == 200
        assert not any(each in answer.data for each in PERSONAL)


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Real-IP": "127.0.0.1"}, {"Forwarded": "for=127.0.0.1"}, {"X-Forwarded-User": "jane"}, {"Via": "1.1 x"},
        {"X_Forwarded_User": "jane"}, {"Authorization": ""}, {"Authorization": "Basic YTpi"}, {"Cookie": "deedbox_ops=x"},
    ],
)  # fmt: skip
def test_no_header_that_anybody_can_send_stands_for_a_token(ops: Ops, headers: dict[str, str]) -> None:
    answer = urllib3.request(
        "GET", f"{ops.url}/api/requests/{REQUEST}", headers=headers, retries=False, redirect=False, timeout=20
    )
    assert answer.status == 401
