"""The bytes on the wire, read back by parsers and verified by the vendor's own code."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import json
import re
from typing import Any

import dropbox_sign
import multipart
import pytest
from dropbox_sign.models import EventCallbackRequest
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from deedbox.shared.simulator.lifecycle import Account, SimulatedCallback
from deedbox.shared.simulator.traffic import FORGER_API_KEY
from deedbox.shared.simulator.wire import WireRequest, multipart_request, php_json
from tests.unit.simulator.conftest import API_KEY, Make


@pytest.fixture
def callbacks(make: Make) -> list[SimulatedCallback]:
    return [callback for request in make(40) for callback in request.callbacks]


def _environ(request: WireRequest) -> dict[str, Any]:
    return EnvironBuilder(
        method="POST", headers=Headers(dict(request.headers)), data=request.body
    ).get_environ()


def _valid(callback: SimulatedCallback, api_key: str = API_KEY) -> bool:
    parsed = EventCallbackRequest.from_dict(json.loads(callback.json_text))
    return bool(dropbox_sign.EventCallbackHelper.is_valid(api_key, parsed))


def test_slashes_and_non_ascii_are_escaped_as_php_does() -> None:
    assert php_json({"a/b": "é/🖋", "n": None, "t": True}) == (
        b'{"a\\/b":"\\u00e9\\/\\ud83d\\udd8b","n":null,"t":true}'
    )


def test_the_json_text_holds_the_payload(callbacks: list[SimulatedCallback]) -> None:
    assert all(json.loads(callback.json_text) == callback.payload for callback in callbacks)


def test_some_texts_have_escaped_slashes_and_names_beyond_ascii(callbacks: list[SimulatedCallback]) -> None:
    texts = b"".join(callback.json_text for callback in callbacks)
    assert texts.isascii()
    assert b"https:\\/\\/" in texts
    assert b"\\ud83d" in texts


def test_the_multipart_library_reads_the_json_text_back(callbacks: list[SimulatedCallback]) -> None:
    for callback in callbacks[:20]:
        forms, files = multipart.parse_form_data(
            _environ(multipart_request(callback.json_text, API_KEY)), strict=True
        )
        assert forms["json"].encode() == callback.json_text
        assert not files


def test_werkzeug_reads_the_json_text_back(callbacks: list[SimulatedCallback]) -> None:
    for callback in callbacks[:20]:
        form = Request(_environ(multipart_request(callback.json_text, API_KEY))).form
        assert form.to_dict() == {"json": callback.json_text.decode()}


def test_the_body_is_one_part_with_one_header() -> None:
    request = multipart_request(b'{"event":{}}', API_KEY)
    boundary = re.fullmatch(
        r"multipart/form-data; boundary=(-{24}[0-9a-f]{16})", request.headers["Content-Type"]
    )
    assert boundary is not None
    assert request.body == (
        b"--%(b)s\r\n"
        b'Content-Disposition: form-data; name="json"\r\n\r\n'
        b'{"event":{}}\r\n'
        b"--%(b)s--\r\n" % {b"b": boundary.group(1).encode()}
    )


def test_the_headers_are_those_of_the_capture() -> None:
    request = multipart_request(b"{}", API_KEY)
    digest = hmac.new(API_KEY.encode(), b"{}", hashlib.sha256).hexdigest()
    assert {name: value for name, value in request.headers.items() if name != "Content-Type"} == {
        "User-Agent": "Dropbox Sign API",
        "Accept": "*/*",
        "Content-Sha256": base64.b64encode(digest.encode()).decode(),
        "Content-Length": str(len(request.body)),
        "Expect": "100-continue",
    }


def test_the_vendors_code_accepts_every_honest_callback(callbacks: list[SimulatedCallback]) -> None:
    assert all(_valid(callback) for callback in callbacks)


def test_the_vendors_code_accepts_the_apps_delivery_and_sees_that_it_is_one(
    callbacks: list[SimulatedCallback], account: Account
) -> None:
    for callback in callbacks[:20]:
        reported = callback.for_app(account.client_id)
        parsed = EventCallbackRequest.from_dict(json.loads(reported.json_text))
        assert dropbox_sign.EventCallbackHelper.is_valid(API_KEY, parsed)
        assert dropbox_sign.EventCallbackHelper.get_callback_type(parsed) == "app_callback"


def test_the_vendors_code_refuses_forgeries(callbacks: list[SimulatedCallback]) -> None:
    assert not any(_valid(callback.forged(FORGER_API_KEY)) for callback in callbacks[:20])


def test_an_account_never_shows_its_key(account: Account) -> None:
    stream = io.StringIO()
    print(account, file=stream)
    assert API_KEY not in stream.getvalue()
