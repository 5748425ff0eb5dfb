"""The applications in deploy/examples that have Deedbox's receiver in them, each as it is printed, on a real Redis."""

from __future__ import annotations

import gc
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest
from a2wsgi import ASGIMiddleware
from redis import Redis
from werkzeug.test import Client

from deedbox import NotVerified
from deedbox.ingress.publish.handover import Handover
from deedbox.shared.redis import keys
from deedbox.testing import Callback, callback
from tests.component.workers.server import RedisServer

pytestmark = pytest.mark.real_redis

EXAMPLES = Path(__file__).parents[3] / "deploy" / "examples"
NEEDS = {"flask_app": "flask", "fastapi_app": "fastapi", "django_app": "django"}

MADE = callback("signature_request_signed", api_key="key")


def loaded(name: str) -> ModuleType:
    """Import an example as a program does; it reads its settings from the environment."""
    if os.environ.get("CI") != "true":
        pytest.importorskip(NEEDS.get(name, "flask"))
    if name == "django_app":
        from django.conf import empty, settings

        settings._wrapped = empty  # another test of this process may have configured it
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # Django finds a project's addresses by the name of its module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", params=sorted(NEEDS))
def client(
    request: pytest.FixtureRequest, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Client]:
    # Django has one configuration per process, so that each example is loaded once.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEEDBOX_API_KEYS", "key")
        patch.setenv("DEEDBOX_SOURCES", '{"sales": {"api_keys": ["sold"]}}')
        patch.setenv("DEEDBOX_REDIS_URL", redis_server.url)
        patch.setenv("DEEDBOX_DATA_DIR", str(tmp_path_factory.mktemp(request.param)))
        patch.setenv("DEEDBOX_BODY_MAX_BYTES", "4000000")
        app: Any = loaded(request.param).app
    yield Client(cast("Any", ASGIMiddleware(app)) if request.param == "fastapi_app" else app)
    # Mounts end with their process, which goes on here: their threads would look at other tests' servers.
    for handover in [each for each in gc.get_objects() if isinstance(each, Handover)]:
        handover.close(1)
    # A refused request leaves its task waiting for the rest of the body. Destroyed while the next example is compiled, it
    # would make the compiler fail (CPython 3.11).
    gc.collect()


def post(client: Client, path: str, made: Callback = MADE, body: bytes | None = None) -> Any:
    headers = {name: made.headers[name] for name in ("Content-Type", "Content-Sha256", "User-Agent")}
    return client.post(path, data=made.body if body is None else body, headers=headers)


def test_a_callback_is_acknowledged_once_the_broker_has_it(client: Client, state: Redis) -> None:
    answer = post(client, "/hooks/callbacks")
    assert (answer.status_code, answer.data) == (200, b"Hello API Event Received")
    assert answer.headers["Cache-Control"] == "no-store"
    assert state.llen(keys.RAW_QUEUE) == 1


def test_a_tenant_has_its_own_address_and_keys(client: Client, state: Redis) -> None:
    sold = callback("signature_request_signed", api_key="sold")
    assert post(client, "/hooks/callbacks/sales", sold).status_code == 200
    assert post(client, "/hooks/callbacks", sold).status_code == 401
    assert post(client, "/hooks/callbacks/nobody", sold).status_code == 404
    assert state.llen(keys.RAW_QUEUE) == 1


def test_refusals_are_those_of_the_receiver(client: Client, state: Redis) -> None:
    answers = [client.get("/hooks/callbacks"), post(client, "/hooks/callbacks", body=b"x" * 4_000_001),
               post(client, "/hooks/callbacks", body=MADE.body[:-9])]  # fmt: skip
    assert [answer.status_code for answer in answers] == [405, 413, 400]
    assert [answer.json["error"] for answer in answers if answer.json] == [
        "method_not_allowed", "body_too_large", "bad_multipart",
    ]  # fmt: skip
    assert state.llen(keys.RAW_QUEUE) == 0


def test_a_body_above_the_limits_of_the_framework_is_taken(client: Client, state: Redis) -> None:
    large = callback("signature_request_signed", api_key="key", message="x" * 3_000_000)
    assert post(client, "/hooks/callbacks", large).status_code == 200
    assert state.llen(keys.RAW_QUEUE) == 1


def test_the_application_keeps_its_own_pages(client: Client) -> None:
    assert b"home" in client.get("/").data


def test_a_handler_of_ones_own_lets_deedbox_verify(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DROPBOX_SIGN_API_KEY", "other,key")
    client = Client(loaded("own_handler").app)
    assert post(client, "/").data == b"Hello API Event Received"
    refused = post(client, "/", callback("signature_request_signed", api_key="forged"))
    assert (refused.status_code, refused.data.partition(b":")[0]) == (401, b"bad_event_hash")
    assert NotVerified("bad_event_hash", "x").reason == "bad_event_hash"
