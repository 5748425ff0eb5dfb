"""``deedbox send``: one signed callback, and what its answer means."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from typer.testing import CliRunner

from deedbox import NotVerified, verify
from deedbox.ops.cli import app
from deedbox.ops.develop.one_callback import send
from deedbox.shared.core.errors import SettingsError

ACK = b"Hello API Event Received"


class Receiver(ThreadingHTTPServer):
    """Remembers what it verified, and answers what it is told."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer: tuple[int, bytes, dict[str, str]] = (200, ACK, {})
        self.verified: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/callbacks"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            found = verify(body, self.headers, "key")
            request = found.payload.get("signature_request", {})
            self.server.verified.append(request.get("signature_request_id", found.event_type))
        except NotVerified as error:
            self.server.verified.append(error.reason)
        status, text, headers = self.server.answer
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(text))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        """Write nothing."""


@pytest.fixture(scope="module")
def server() -> Iterator[Receiver]:
    with Receiver() as receiver:
        thread = threading.Thread(target=receiver.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield receiver
        receiver.shutdown()
        thread.join()


@pytest.fixture
def receiver(server: Receiver) -> Receiver:
    server.answer, server.verified = (200, ACK, {}), []
    return server


def test_the_callback_is_verified_and_its_acknowledgement_ends_well(receiver: Receiver) -> None:
    arguments = [
        "send",
        "signature_request_signed",
        "--to",
        receiver.url,
        "--api-key",
        "key",
        "--request-id",
        "r1",
    ]
    done = CliRunner().invoke(app, arguments)
    assert (done.exit_code, receiver.verified) == (0, ["r1"])
    assert "Acknowledged" in done.output
    assert "DEEDBOX_HOLD_S" in done.output, "a newcomer would look for the call in vain, for half a minute"
    first = CliRunner().invoke(app, [*arguments[:1], "signature_request_sent", *arguments[2:]])
    assert "DEEDBOX_HOLD_S" not in first.output
    told = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).output)
    assert told == {"url": receiver.url, "event_type": "signature_request_signed", "id": "r1", "status": 200,
                    "answer": ACK.decode(), "acknowledged": True}  # fmt: skip


@pytest.mark.parametrize(
    ("event_type", "path", "command"),
    [
        ("signature_request_sent", "", "deedbox trace r1"),
        ("file_error", "", "deedbox trace r1"),
        ("template_created", "", "deedbox trace template/r1"),
        ("account_confirmed", "/acme", "deedbox trace account/r1 --source acme"),
        ("fax_received", "", "deedbox trace fax/r1"),
        ("callback_test", "/acme/", "deedbox trace type/callback_test --source acme"),
    ],
)
def test_the_command_that_is_printed_names_the_callbacks_timeline(
    receiver: Receiver, event_type: str, path: str, command: str
) -> None:
    """Law: what a message tells a person to run works as printed, for every kind of callback and every source."""
    assert f"`{command}` shows" in send(event_type, receiver.url + path, "key", "r1").lines()[-1]


@pytest.mark.parametrize(
    ("status", "text", "headers", "said"),
    [
        (401, b'{"error": "bad_event_hash", "detail": "x"}', {}, "another API key"),
        (400, b'{"error": "bad_field", "detail": "x"}', {}, "refused it: bad_field"),
        (200, ACK + b"\n", {}, "no acknowledgement"),
        (200, b"", {}, "no acknowledgement"),
        (403, b"<html>", {}, "the same API key"),
        (500, b'{"error": "made up"}', {}, "sends the callback again"),
        (500, b"[]", {}, "sends the callback again"),
        (301, b"", {"Location": "https://x/"}, "address https://x/ itself"),
    ],
)
def test_another_answer_is_explained(
    receiver: Receiver, status: int, text: bytes, headers: dict[str, str], said: str
) -> None:
    receiver.answer = (status, text, headers)
    sent = send("signature_request_sent", receiver.url, "key")
    assert (sent.acknowledged, sent.status) == (False, status)
    assert said in sent.lines()[-1]


def test_a_type_that_looks_misspelled_is_named_and_sent_all_the_same(receiver: Receiver) -> None:
    """Law: a developer who mistypes a type learns that no action will run for it."""
    sent = send("signature_request_sined", receiver.url, "key")
    assert sent.acknowledged
    assert "did you mean signature_request_signed?" in sent.lines()[1]
    assert len(send("a_type_that_is_new", receiver.url, "key").lines()) == 3


def test_no_answer_is_explained() -> None:
    sent = send("signature_request_sent", "http://127.0.0.1:1/", "key")
    assert (sent.status, sent.acknowledged) == (None, False)
    assert "nothing listens there" in sent.lines()[-1]


def test_a_key_that_the_receiver_does_not_have_is_refused_by_it(receiver: Receiver) -> None:
    send("signature_request_sent", receiver.url, "another")
    assert receiver.verified == ["bad_event_hash"]


@pytest.mark.parametrize(("event_type", "url"), [("deedbox.x", "http://x/"), ("1a", "http://x/"), ("a b", "http://x/"),
                                                 ("", "http://x/"), ("signature_request_sent", "x")])  # fmt: skip
def test_what_cannot_be_sent_is_one_sentence(event_type: str, url: str) -> None:
    with pytest.raises(SettingsError):
        send(event_type, url, "key")
