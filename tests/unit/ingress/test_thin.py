"""The short way through the Flask application answers as Flask does, and gives way to whoever extends it."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from typing import Any

import pytest
from flask import Flask, Response, request, request_started

from deedbox.ingress.app import create_app
from deedbox.ingress.receive.flask_shortcut import Application
from tests.unit.ingress.wire import MULTIPART, OTHER_KEY, RememberingBroker, callback, multipart, settings

SOURCES = '{"tenant": {"api_keys": ["%s"]}}' % OTHER_KEY  # noqa: UP031 - braces
GENUINE: dict[str, Any] = {"data": multipart(callback()), "content_type": MULTIPART}
TERMINATED = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}


def application() -> Application:
    app = create_app(settings(DEEDBOX_SOURCES=SOURCES, DEEDBOX_BODY_MAX_BYTES="2048"), RememberingBroker())
    assert isinstance(app, Application)
    return app


@pytest.fixture
def app() -> Application:
    return application()


def forbid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let whatever takes the long way fail."""

    def fail(*_: object) -> Iterable[bytes]:
        raise AssertionError("the long way was taken")

    monkeypatch.setattr(Flask, "wsgi_app", fail)


@pytest.mark.parametrize("path", ["/callbacks", "/callbacks/", "/callbacks/default", "/callbacks/default/"])
def test_a_callback_takes_the_short_way(app: Application, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    forbid(monkeypatch)
    answer = app.test_client().post(path, **GENUINE)
    assert (answer.status, answer.data) == ("200 OK", b"Hello API Event Received")


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/callbacks", GENUINE),
        ("/callbacks?a=b", GENUINE),
        ("/callbacks/", GENUINE),
        ("/callbacks/tenant", GENUINE),
        ("/callbacks/tenant", {**GENUINE, "data": multipart(callback(key=OTHER_KEY))}),
        ("/callbacks", {**GENUINE, "headers": {"Content-Sha256": "d3Jvbmc=", "traceparent": "x"}}),
        ("/callbacks", {}),
        ("/callbacks", {"data": b"{", "content_type": "application/json"}),
        ("/callbacks", {"data": {"json": callback().decode()}}),
        ("/callbacks", {"data": b"x", "content_type": MULTIPART}),
        ("/callbacks", {**GENUINE, "data": b"x" * 5000}),
        ("/callbacks", {"input_stream": BytesIO(b"x" * 9), "environ_overrides": {"CONTENT_LENGTH": "10"}}),
        ("/callbacks", {"input_stream": BytesIO(b"x" * 9), "environ_overrides": {"CONTENT_LENGTH": "x"}}),
        ("/callbacks", {"input_stream": BytesIO(b"x" * 2048), "environ_overrides": TERMINATED}),
        ("/callbacks", {"input_stream": BytesIO(b"x" * 2049), "environ_overrides": TERMINATED}),
    ],
)
def test_the_short_way_answers_to_the_byte_as_flask_does(
    app: Application, path: str, asked: dict[str, Any]
) -> None:
    long = application()
    long.before_request(lambda: None)
    found = []
    for each in (app, long):
        if "input_stream" in asked:
            asked["input_stream"].seek(0)
            asked = {**asked, "input_stream": BytesIO(asked["input_stream"].getvalue())}
        answer = each.test_client().post(path, **asked)
        found.append((answer.status, sorted(answer.headers.items()), answer.data))
    assert found[0] == found[1]


def test_a_failure_in_counting_is_answered_as_flask_does(
    app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = application()
    long.before_request(lambda: None)
    monkeypatch.setattr("deedbox.ingress.monitor.counters.Intake.acknowledged", lambda *_, **__: 1 / 0)
    answers = [each.test_client().post("/callbacks", **GENUINE) for each in (app, long)]
    assert [(each.status_code, each.data) for each in answers] == [(500, answers[0].data)] * 2


def test_whoever_extends_the_application_sees_every_request(app: Application) -> None:
    seen: list[str] = []
    app.before_request(lambda: seen.append("before"))

    def after(response: Response) -> Response:
        seen.append("after")
        response.headers["X-Host"] = "1"
        return response

    app.after_request(after)
    answer = app.test_client().post("/callbacks", **GENUINE)
    assert (answer.status_code, answer.headers["X-Host"], seen) == (200, "1", ["before", "after"])


def test_whoever_listens_to_flasks_signals_hears_of_every_request(app: Application) -> None:
    heard: list[str] = []

    def hear(_: object, **__: object) -> None:
        heard.append(request.path)

    with request_started.connected_to(hear, app):
        app.test_client().post("/callbacks", **GENUINE)
    app.test_client().post("/callbacks", **GENUINE)
    assert heard == ["/callbacks"]


def test_trusted_hosts_hold_for_callbacks_too(app: Application) -> None:
    app.config["TRUSTED_HOSTS"] = ["deedbox.example"]
    assert app.test_client().post("/callbacks", **GENUINE).status_code >= 400
    assert (
        app.test_client().post("/callbacks", headers={"Host": "deedbox.example"}, **GENUINE).status_code
        == 200
    )


def test_a_test_client_can_look_at_the_request_afterwards(app: Application) -> None:
    with app.test_client() as client:
        client.post("/callbacks", **GENUINE)
        assert request.path == "/callbacks"


def test_middleware_goes_around_the_short_way_too(app: Application) -> None:
    inner, seen = app.wsgi_app, []

    def middleware(environ: Any, start_response: Any) -> Iterable[bytes]:
        seen.append(environ["PATH_INFO"])
        return inner(environ, start_response)

    app.wsgi_app = middleware  # type: ignore[method-assign]
    assert app.test_client().post("/callbacks", **GENUINE).status_code == 200
    assert seen == ["/callbacks"]
