"""The table of answers, as a sender sees it."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from a2wsgi import ASGIMiddleware
from werkzeug.test import Client, TestResponse

from deedbox.ingress.app import create_app
from deedbox.ingress.monitor.counters import NO_SOURCE, Intake
from deedbox.ingress.server import served_by_loop
from deedbox.shared import codec
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.errors import SettingsError
from deedbox.shared.core.signature import content_sha256
from deedbox.shared.settings import Settings
from tests.unit.ingress.wire import (
    KEY,
    MULTIPART,
    OTHER_KEY,
    RememberingBroker,
    callback,
    multipart,
    settings,
)

SOURCES = '{"tenant": {"api_keys": ["%s"]}}' % OTHER_KEY  # noqa: UP031 - braces


@pytest.fixture
def broker() -> RememberingBroker:
    return RememberingBroker()


@pytest.fixture(params=["any server", "our server"])
def client(broker: RememberingBroker, request: pytest.FixtureRequest) -> Client:
    """Ask the Flask application alone, and behind the event loop of our server: one contract for both."""
    found = settings(DEEDBOX_SOURCES=SOURCES, DEEDBOX_BODY_MAX_BYTES="2048")
    app = create_app(found, broker)
    if request.param == "any server":
        return app.test_client()
    served: Any = served_by_loop(app, found)
    wsgi: Any = ASGIMiddleware(served)
    return Client(wsgi)


def post(client: Client, text: bytes, path: str = "/callbacks", **headers: str) -> TestResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(path, data=multipart(text), content_type=MULTIPART, headers=named)


def assert_refused(answer: TestResponse, status: int, reason: str) -> None:
    assert answer.status_code == status
    assert answer.json is not None
    assert answer.json["error"] == reason
    assert set(answer.json) == {"error", "detail"}


@pytest.mark.parametrize("host", ["two words", "a/b", "[::1", "h" * 300 + ".example", "h:x"])
def test_no_host_costs_a_callback(client: Client, broker: RememberingBroker, host: str) -> None:
    """The routes are the same for every ``Host``: a proxy may write what it likes there."""
    assert post(client, callback(), Host=host).status_code == 200
    assert len(broker.published) == 1


def test_the_ack_is_the_exact_text(client: Client) -> None:
    answer = post(client, callback())
    assert answer.status_code == 200
    assert answer.data == b"Hello API Event Received"
    assert answer.mimetype == "text/plain"


@pytest.mark.parametrize("path", ["/callbacks", "/callbacks/", "/callbacks/default", "/callbacks/default/"])
def test_the_default_source_has_two_equal_addresses(
    client: Client, broker: RememberingBroker, path: str
) -> None:
    assert post(client, callback(), path).status_code == 200
    assert broker.published[0].source == "default"


def test_each_source_has_its_address_and_its_keys(client: Client, broker: RememberingBroker) -> None:
    assert post(client, callback(key=OTHER_KEY), "/callbacks/tenant").status_code == 200
    assert broker.published[0].source == "tenant"
    assert_refused(post(client, callback(), "/callbacks/tenant"), 401, "bad_event_hash")


def test_an_ack_means_that_the_broker_has_the_exact_bytes(client: Client, broker: RememberingBroker) -> None:
    text = callback(note="ü / \\")
    post(client, text, Content_Sha256=content_sha256(KEY, text))
    envelope = broker.published[0]
    assert codec.body_of(envelope) == text
    assert str(envelope.body_signature) == "valid"
    assert Envelope.from_headers(envelope.headers(), envelope.body) == envelope


def test_a_refused_callback_never_reaches_the_broker(client: Client, broker: RememberingBroker) -> None:
    for text in (b"{}", b"{", callback(key="stolen")):
        post(client, text)
    post(client, callback(), "/callbacks/nobody")
    assert broker.published == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
@pytest.mark.parametrize("path", ["/callbacks", "/callbacks/tenant"])
def test_only_post_is_allowed(client: Client, method: str, path: str) -> None:
    answer = client.open(path, method=method)
    assert answer.status_code == 405
    assert "POST" in answer.headers["Allow"]
    if method != "HEAD":
        assert_refused(answer, 405, "method_not_allowed")


@pytest.mark.parametrize("path", ["/", "/callback", "/callbacks/a/b", "/metrics"])
def test_a_wrong_path_is_not_found(client: Client, path: str) -> None:
    assert_refused(post(client, callback(), path), 404, "not_found")


def test_an_unknown_source_is_not_found(client: Client) -> None:
    assert_refused(post(client, callback(), "/callbacks/nobody"), 404, "unknown_source")


def test_a_body_over_the_limit_is_too_large(client: Client) -> None:
    assert_refused(post(client, callback(filler="x" * 2048)), 413, "body_too_large")


@pytest.mark.parametrize("surplus", [1, 5000])
def test_an_unannounced_body_over_the_limit_is_too_large(client: Client, surplus: int) -> None:
    text = callback()
    body = multipart(text + b" " * (2048 + surplus - len(multipart(text))))
    answer = client.post(
        "/callbacks",
        content_type=MULTIPART,
        input_stream=BytesIO(body),
        environ_overrides={"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"},
    )
    assert_refused(answer, 413, "body_too_large")


def test_a_body_shorter_than_announced_is_refused(client: Client) -> None:
    body = multipart(callback())
    answer = client.post(
        "/callbacks",
        content_type=MULTIPART,
        input_stream=BytesIO(body),
        environ_overrides={"CONTENT_LENGTH": str(len(body) + 10)},
    )
    assert_refused(answer, 400, "bad_multipart")


@pytest.mark.parametrize(
    ("text", "reason"),
    [(b"{", "bad_json"), (b"\xff", "bad_json"), (b"{}", "bad_field"), (b'{"event":{}}', "bad_field")],
)
def test_what_is_no_callback_is_a_bad_request(client: Client, text: bytes, reason: str) -> None:
    assert_refused(post(client, text), 400, reason)


def test_a_request_without_the_field_is_told_what_to_send(client: Client) -> None:
    answer = client.post("/callbacks", data={"payload": "1"})
    assert_refused(answer, 400, "missing_json_field")
    assert answer.json is not None
    assert "multipart/form-data" in answer.json["detail"]


def test_a_wrong_body_signature_is_refused_when_asked_for(broker: RememberingBroker) -> None:
    client = create_app(settings(DEEDBOX_BODY_SIGNATURE="check"), broker).test_client()
    assert_refused(post(client, callback(), Content_Sha256="d3Jvbmc="), 401, "bad_body_signature")


def test_a_broker_that_is_down_asks_the_sender_to_come_back(
    client: Client, broker: RememberingBroker
) -> None:
    broker.down = True
    answer = post(client, callback())
    assert_refused(answer, 503, "broker_unavailable")
    assert int(answer.headers["Retry-After"]) > 0


def test_a_bug_answers_500_and_says_nothing_of_itself(client: Client, broker: RememberingBroker) -> None:
    broker.broken = KeyError("jack@example.com")
    answer = post(client, callback())
    assert_refused(answer, 500, "internal_error")
    assert b"jack" not in answer.data
    assert b"Traceback" not in answer.data


def test_the_process_is_alive_whatever_the_broker_does(client: Client, broker: RememberingBroker) -> None:
    broker.down = True
    answer = client.get("/healthz")
    assert (answer.status_code, answer.json) == (200, {"status": "ok"})


def test_readiness_follows_the_broker(broker: RememberingBroker) -> None:
    assert create_app(settings(), broker).test_client().get("/readyz").status_code == 200
    broker.down = True
    answer = create_app(settings(), broker).test_client().get("/readyz")
    assert_refused(answer, 503, "broker_unavailable")
    assert "Retry-After" in answer.headers


def test_a_trace_id_of_the_sender_is_kept(client: Client, broker: RememberingBroker) -> None:
    post(client, callback(), traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    assert broker.published[0].trace_id == "4bf92f3577b34da6a3ce929d0e0e4736"


def test_an_application_without_keys_does_not_start() -> None:
    with pytest.raises(SettingsError, match="DEEDBOX_API_KEYS"):
        create_app(Settings.load({"DEEDBOX_REDIS_URL": "redis://127.0.0.1"}))


@pytest.fixture
def intakes(monkeypatch: pytest.MonkeyPatch) -> list[Intake]:
    """Lend the counters of the applications that a test makes."""
    made: list[Intake] = []

    def make(*given: Any) -> Intake:
        made.append(Intake(*given))
        return made[-1]

    monkeypatch.setattr("deedbox.ingress.app.Intake", make)
    return made


AGENTS = [("Dropbox Sign API", True), ("HelloSign API", True), ("curl/8.5", False), (None, False)]


@pytest.mark.parametrize(("agent", "counts"), AGENTS)
def test_anonymous_junk_is_no_failure_of_the_vendors(
    broker: RememberingBroker, intakes: list[Intake], agent: str | None, *, counts: bool
) -> None:
    """Ten of them would else be told as a callback URL that Dropbox Sign has removed."""
    client = create_app(settings(), broker).test_client()
    headers = {} if agent is None else {"User_Agent": agent}
    for text in (callback(key="stolen"), b"{}", b"junk"):
        post(client, text, **headers)
    totals = intakes[0].totals()
    assert len(totals.sources["default"].failures) == (3 if counts else 0)
    assert totals.sources[NO_SOURCE].refused == (
        {} if counts else {"bad_event_hash": 1, "bad_field": 1, "bad_json": 1}
    )


def test_a_callback_whose_hash_fits_and_that_was_refused_counts_whoever_says_it_sent_it(
    broker: RememberingBroker, intakes: list[Intake]
) -> None:
    client = create_app(settings(), broker).test_client()
    broker.down = True
    assert_refused(post(client, callback(), User_Agent="curl/8.5"), 503, "broker_unavailable")
    assert len(intakes[0].totals().sources["default"].failures) == 1
