"""The simulated API, driven by the vendor's own SDK."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Iterator
from typing import Any

import dropbox_sign
import pytest
import urllib3
from dropbox_sign.exceptions import ApiException

from deedbox.shared.simulator.api_state import Endpoint, FilesApiPolicy
from deedbox.shared.simulator.files_api import FilesApi
from deedbox.shared.simulator.lifecycle import Account, SimulatedRequest
from deedbox.shared.simulator.paper import render_pdf
from deedbox.shared.simulator.story import Ending
from tests.unit.simulator.conftest import API_KEY, Make

NOW = 1_800_000_030
PLAIN = FilesApiPolicy(not_ready_max=0, calls_per_window=1_000, file_calls_per_window=1_000)


@pytest.fixture
def start(account: Account) -> Iterator[Any]:
    """Start an API with a policy, and a stopped clock."""
    started: list[FilesApi] = []

    def begin(policy: FilesApiPolicy = PLAIN) -> FilesApi:
        api = FilesApi(account, policy, callback_url="https://example.com/callbacks", now=lambda: NOW)
        api.start()
        started.append(api)
        return api

    yield begin
    for api in started:
        api.stop()


@pytest.fixture
def completed(make: Make) -> SimulatedRequest:
    return next(r for r in make() if r.ending is Ending.COMPLETED and len(r.callbacks) > 5)


class Sdk:
    """The two calls of the vendor's SDK that Deedbox makes, and two more."""

    def __init__(self, url: str, api_key: str = API_KEY) -> None:
        configuration = dropbox_sign.Configuration(host=url, username=api_key)
        self._client = dropbox_sign.ApiClient(configuration)
        self.requests = dropbox_sign.apis.SignatureRequestApi(self._client)
        self.accounts = dropbox_sign.apis.AccountApi(self._client)
        self.apps = dropbox_sign.apis.ApiAppApi(self._client)

    def get(self, request_id: str) -> Any:
        return self.requests.signature_request_get(request_id).signature_request

    def files(self, request_id: str, file_type: str = "pdf") -> bytes:
        content: bytes = self.requests.signature_request_files(request_id, file_type=file_type).read()
        return content

    def files_status(self, request_id: str) -> tuple[int, str]:
        try:
            self.files(request_id)
        except ApiException as error:
            return error.status, error.data.error.error_name if error.data else ""
        return 200, ""

    def list_status(self, query: str) -> int:
        try:
            self.requests.signature_request_list(query=query)
        except ApiException as error:
            return int(error.status)
        return 200


def _advance(api: FilesApi, request: SimulatedRequest, upto: int | None = None) -> None:
    for callback in request.callbacks[:upto]:
        api.advance(callback)


def test_a_request_shows_its_state_as_it_goes_on(start: Any, completed: SimulatedRequest) -> None:
    api = start()
    sdk = Sdk(api.url)
    for callback in completed.callbacks:
        api.advance(callback)
        shown = sdk.get(completed.signature_request_id)
        assert shown.is_complete is callback.snapshot["is_complete"]
        assert [(s.signature_id, s.signer_name, s.signed_at) for s in shown.signatures] == [
            (s["signature_id"], s["signer_name"], s["signed_at"]) for s in callback.snapshot["signatures"]
        ]


def test_a_callback_that_comes_late_does_not_take_the_state_back(
    start: Any, completed: SimulatedRequest
) -> None:
    api = start()
    _advance(api, completed)
    api.advance(completed.callbacks[0])
    assert Sdk(api.url).get(completed.signature_request_id).is_complete is True


def test_the_final_documents_have_the_foretold_digests(start: Any, completed: SimulatedRequest) -> None:
    api = start()
    foretold = {kind: api.sha256_of(completed.signature_request_id, kind) for kind in ("pdf", "zip")}
    _advance(api, completed)
    sdk = Sdk(api.url)
    contents = {kind: sdk.files(completed.signature_request_id, kind) for kind in foretold}
    assert {kind: hashlib.sha256(content).hexdigest() for kind, content in contents.items()} == foretold
    entries = zipfile.ZipFile(io.BytesIO(contents["zip"]))
    assert entries.testzip() is None
    assert all(entries.read(name).startswith(b"%PDF-") for name in entries.namelist())


def test_an_unfinished_request_gives_a_partly_signed_copy(start: Any, completed: SimulatedRequest) -> None:
    api = start()
    _advance(api, completed, upto=3)
    content = Sdk(api.url).files(completed.signature_request_id)
    assert content.startswith(b"%PDF-")
    assert hashlib.sha256(content).hexdigest() != api.sha256_of(completed.signature_request_id)


def test_a_revised_document_has_other_bytes(start: Any, completed: SimulatedRequest) -> None:
    api = start()
    _advance(api, completed)
    before = Sdk(api.url).files(completed.signature_request_id)
    api.state.revise(completed.signature_request_id)
    after = Sdk(api.url).files(completed.signature_request_id)
    assert before != after
    assert hashlib.sha256(after).hexdigest() == api.sha256_of(completed.signature_request_id)


def test_files_are_in_preparation_for_a_drawn_number_of_tries(start: Any, make: Make) -> None:
    requests = [r for r in make(30) if r.ending is Ending.COMPLETED][:8]
    tries = []
    for _ in range(2):
        api = start(FilesApiPolicy(seed=1, not_ready_max=3, file_calls_per_window=1_000))
        sdk = Sdk(api.url)
        counts = []
        for request in requests:
            _advance(api, request)
            answers = [sdk.files_status(request.signature_request_id) for _ in range(4)]
            conflicts = answers.count((409, "conflict"))
            assert answers == [(409, "conflict")] * conflicts + [(200, "")] * (4 - conflicts)
            counts.append(conflicts)
        tries.append(counts)
    assert tries[0] == tries[1]
    assert len(set(tries[0])) > 1


SCRIPT = {
    400: "bad_request",
    401: "unauthorized",
    402: "payment_required",
    403: "forbidden",
    404: "not_found",
    409: "conflict",
    410: "deleted",
    422: "unprocessable_entity",
    429: "exceeded_rate",
    500: "",
}


def test_a_script_of_faults_is_played_once_and_then_the_file_comes(
    start: Any, completed: SimulatedRequest
) -> None:
    api = start()
    _advance(api, completed)
    api.script(completed.signature_request_id, list(SCRIPT))
    sdk = Sdk(api.url)
    answers = [sdk.files_status(completed.signature_request_id) for _ in range(len(SCRIPT) + 1)]
    assert answers == [*SCRIPT.items(), (200, "")]
    files = {status: count for (endpoint, status), count in api.calls().items() if endpoint is Endpoint.FILES}
    assert files == dict.fromkeys(SCRIPT, 1) | {200: 1}


def test_a_script_may_aim_at_the_state_of_a_request(start: Any, completed: SimulatedRequest) -> None:
    api = start()
    _advance(api, completed)
    api.script(completed.signature_request_id, [503], Endpoint.REQUEST)
    sdk = Sdk(api.url)
    with pytest.raises(ApiException) as caught:
        sdk.get(completed.signature_request_id)
    assert caught.value.status == 503
    assert sdk.get(completed.signature_request_id).is_complete is True


def test_an_unknown_request_is_not_found(start: Any) -> None:
    sdk = Sdk(start().url)
    assert sdk.files_status("0" * 40) == (404, "not_found")
    with pytest.raises(ApiException) as caught:
        sdk.get("0" * 40)
    assert caught.value.status == 404


def test_the_files_of_a_canceled_request_are_deleted(start: Any, make: Make) -> None:
    canceled = next(r for r in make(100) if r.ending is Ending.CANCELED)
    api = start()
    _advance(api, canceled)
    assert Sdk(api.url).files_status(canceled.signature_request_id) == (410, "deleted")


def test_the_files_of_a_request_in_error_are_unprocessable(start: Any, completed: SimulatedRequest) -> None:
    api = start()
    api.state.put(dict(completed.callbacks[-1].snapshot) | {"has_error": True})
    assert Sdk(api.url).files_status(completed.signature_request_id) == (422, "unprocessable_entity")


def test_a_wrong_key_is_unauthorized(start: Any, completed: SimulatedRequest) -> None:
    api = start()
    _advance(api, completed)
    assert Sdk(api.url, "wrong").files_status(completed.signature_request_id) == (401, "unauthorized")
    with urllib3.PoolManager() as connections:
        answer = connections.request("GET", api.url + "/account")
    assert answer.status == 401
    assert answer.json()["error"]["error_name"] == "unauthorized"


def test_a_used_up_budget_is_refused_until_the_window_ends(start: Any, completed: SimulatedRequest) -> None:
    api = start(FilesApiPolicy(not_ready_max=0, file_calls_per_window=2, window_s=60))
    _advance(api, completed)
    sdk = Sdk(api.url)
    answers = [sdk.files_status(completed.signature_request_id)[0] for _ in range(3)]
    assert answers == [200, 200, 429]
    with pytest.raises(ApiException) as caught:
        sdk.files(completed.signature_request_id)
    headers = caught.value.headers
    assert headers["X-RateLimit-Limit"] == "2"
    assert headers["X-RateLimit-Remaining"] == "0"
    assert headers["X-Ratelimit-Reset"] == str(NOW // 60 * 60 + 60)
    assert "Retry-After" not in headers
    assert sdk.get(completed.signature_request_id).is_complete is True


def test_calls_exceed_the_rate_now_and_then(start: Any, completed: SimulatedRequest) -> None:
    api = start(FilesApiPolicy(exceeded_rate=0.5, not_ready_max=0, file_calls_per_window=1_000))
    _advance(api, completed)
    answers = [Sdk(api.url).files_status(completed.signature_request_id) for _ in range(20)]
    assert set(answers) == {(200, ""), (429, "exceeded_rate")}


def test_the_list_pages_through_all_requests(start: Any, make: Make) -> None:
    api = start()
    requests = make(25)
    for request in requests:
        _advance(api, request, upto=1)
    sdk = Sdk(api.url)
    pages = [sdk.requests.signature_request_list(page=page, page_size=10) for page in (1, 2, 3)]
    listed = [shown.signature_request_id for page in pages for shown in page.signature_requests]
    assert sorted(listed) == sorted(request.signature_request_id for request in requests)
    assert (pages[0].list_info.num_pages, pages[0].list_info.num_results) == (3, 25)


def test_the_list_is_searched_by_days_of_creation(start: Any, make: Make) -> None:
    """As the vendor's page on searching writes it: square brackets include both days."""
    api = start()
    first_and_last_second_of_a_day = (1_769_904_000, 1_769_990_399)  # 2026-02-01
    for request, created_at in zip(make(2), first_and_last_second_of_a_day, strict=True):
        api.state.put({**request.callbacks[0].snapshot, "created_at": created_at})
    sdk = Sdk(api.url)
    for days, count in (
        ("2026-02-01 TO 2026-02-01", 2),
        ("2026-01-01 TO 2026-01-31", 0),
        ("2026-02-02 TO 2026-03-01", 0),
    ):
        listed = sdk.requests.signature_request_list(query=f"created:[{days}]")
        assert listed.list_info.num_results == count
    assert sdk.list_status("is this a query?") == 400


def test_the_account_tells_its_callback_url(start: Any) -> None:
    api = start()
    sdk = Sdk(api.url)
    assert sdk.accounts.account_get().account.callback_url == "https://example.com/callbacks"
    api.callback_url = None
    assert sdk.accounts.account_get().account.callback_url is None


def test_a_callback_url_is_set_as_the_vendors_sdk_sets_it(start: Any) -> None:
    """With the SDK's own models, so that what the simulator answers is what the vendor would."""
    api, url = start(), "https://example.com/new"
    api.apps["app1"] = None
    sdk = Sdk(api.url)
    update = dropbox_sign.models.AccountUpdateRequest(callback_url=url)
    assert sdk.accounts.account_update(update).account.callback_url == url
    assert sdk.apps.api_app_get("app1").api_app.callback_url is None
    change = dropbox_sign.models.ApiAppUpdateRequest(callback_url=url)
    assert sdk.apps.api_app_update("app1", change).api_app.callback_url == url
    assert [api.callback_url, api.apps["app1"]] == [url, url]


def test_an_app_of_another_account_is_not_found_and_a_url_without_tls_is_not_taken(start: Any) -> None:
    api = start()
    api.apps["app1"] = None
    sdk = Sdk(api.url)
    with pytest.raises(dropbox_sign.ApiException) as unknown:
        sdk.apps.api_app_get("app2")
    assert unknown.value.status == 404
    plain = dropbox_sign.models.ApiAppUpdateRequest(callback_url="http://example.com")
    with pytest.raises(dropbox_sign.ApiException) as refused:
        sdk.apps.api_app_update("app1", plain)
    assert refused.value.status == 400


def test_a_pdf_is_well_formed() -> None:
    """The cross-reference table points at every object, and ``startxref`` at the table."""
    pdf = render_pdf(["Round (brackets) and a backslash \\", "Beyond Latin: 山"])
    assert pdf.startswith(b"%PDF-")
    assert pdf.rstrip().endswith(b"%%EOF")
    offsets = [int(offset) for offset in re.findall(rb"(\d{10}) 00000 n", pdf)]
    assert [pdf[offset : offset + 7] for offset in offsets] == [
        b"%d 0 obj" % number for number in range(1, len(offsets) + 1)
    ]
    table_at = int(re.findall(rb"startxref\n(\d+)", pdf)[0])
    assert pdf[table_at : table_at + 4] == b"xref"
