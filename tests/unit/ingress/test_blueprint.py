"""The routes in somebody else's Flask application."""

from __future__ import annotations

import pytest
from flask import Blueprint, Flask, request
from flask.testing import FlaskClient
from flask_wtf import CSRFProtect

from deedbox.ingress.app import create_blueprint
from tests.unit.ingress.wire import MULTIPART, RememberingBroker, callback, multipart, settings


@pytest.fixture
def broker() -> RememberingBroker:
    return RememberingBroker()


@pytest.fixture
def client(broker: RememberingBroker) -> FlaskClient:
    app = Flask("host")
    app.config["MAX_CONTENT_LENGTH"] = 64
    app.config["MAX_FORM_MEMORY_SIZE"] = 64
    for failure in (404, 405, 413, 500, Exception):
        app.register_error_handler(failure, lambda _: ("the host's page", 418))
    config = settings(DEEDBOX_BODY_MAX_BYTES="4096")
    app.register_blueprint(
        create_blueprint(config, broker, config.sources(), lambda: 1_800_000_000.5), url_prefix="/sign"
    )
    app.add_url_rule("/upload", view_func=lambda: str(len(request.get_data())), methods=["POST"])
    return app.test_client()


def test_callbacks_are_received_below_the_prefix(client: FlaskClient, broker: RememberingBroker) -> None:
    answer = client.post("/sign/callbacks", data=multipart(callback()), content_type=MULTIPART)
    assert answer.data == b"Hello API Event Received"
    assert broker.published[0].received_at == 1_800_000_000.5


def test_the_host_keeps_its_own_limit(client: FlaskClient) -> None:
    assert client.post("/upload", data=b"x" * 65).data == b"the host's page"


def test_our_limit_is_ours(client: FlaskClient) -> None:
    answer = client.post("/sign/callbacks", data=b"x" * 5000, content_type=MULTIPART)
    assert (answer.status_code, answer.json and answer.json["error"]) == (413, "body_too_large")


def test_our_refusals_are_not_the_hosts_pages(client: FlaskClient, broker: RememberingBroker) -> None:
    answers = [
        client.get("/sign/callbacks"),
        client.post("/sign/callbacks/nobody"),
        client.post("/sign/callbacks", data=b"", content_type=MULTIPART),
    ]
    broker.broken = RuntimeError("bug")
    answers.append(client.post("/sign/callbacks", data=multipart(callback()), content_type=MULTIPART))
    assert [answer.status_code for answer in answers] == [405, 404, 400, 500]
    assert all(answer.json and "error" in answer.json for answer in answers)


def test_the_hosts_own_paths_are_the_hosts(client: FlaskClient) -> None:
    assert client.get("/elsewhere").data == b"the host's page"


def mounted(broker: RememberingBroker, *, health: bool = False) -> tuple[Flask, Blueprint]:
    app, config = Flask("host"), settings()
    blueprint = create_blueprint(config, broker, config.sources(), health=health)
    return app, blueprint


def test_the_host_keeps_its_root(broker: RememberingBroker) -> None:
    for wanted, status in ((False, 404), (True, 200)):
        app, blueprint = mounted(broker, health=wanted)
        app.register_blueprint(blueprint)
        assert [app.test_client().get(path).status_code for path in ("/healthz", "/readyz")] == [status] * 2


def test_a_host_that_protects_its_forms_exempts_the_blueprint(broker: RememberingBroker) -> None:
    app, blueprint = mounted(broker)
    app.secret_key = "secret"
    CSRFProtect(app).exempt(blueprint)
    app.register_blueprint(blueprint)
    answer = app.test_client().post("/callbacks", data=multipart(callback()), content_type=MULTIPART)
    assert answer.data == b"Hello API Event Received"


@pytest.mark.parametrize("what", ["form", "data"])
def test_a_host_that_reads_the_body_first_is_named_and_not_the_sender(
    broker: RememberingBroker, what: str
) -> None:
    app, blueprint = mounted(broker)

    @app.before_request
    def look() -> None:
        getattr(request, what)

    app.register_blueprint(blueprint)
    answer = app.test_client().post("/callbacks", data=multipart(callback()), content_type=MULTIPART)
    assert (answer.status_code, answer.json and answer.json["error"]) == (500, "internal_error")
    assert b"before_request" in answer.data


def test_without_redirects_a_callback_is_never_lost_to_one(client: FlaskClient) -> None:
    for path in ("/sign/callbacks/", "/sign/callbacks//", "/sign//callbacks"):
        answer = client.post(path, data=multipart(callback()), content_type=MULTIPART)
        assert answer.status_code in {200, 418}
