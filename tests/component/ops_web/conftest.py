"""The ops process as it runs in production: gunicorn on a port of its own, over a real Redis."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import urllib3
from flask.testing import FlaskClient
from redis import Redis

from deedbox.ops.web.app import create_app
from deedbox.shared.redis.embedded import free_port
from deedbox.shared.settings import Settings
from tests.component.workers.server import RedisServer, until
from tests.support.forms import Page

TOKEN = "component-test-token-0123"
READER = "reader-token-0123456789"
"""A token of the scope read only, of the process that tests share."""


OTHER = "another-writer-token-0123"
"""A token of the scope write only."""

TOKENS = {"reader": {"token": READER, "scopes": ["read"]}, "other": {"token": OTHER, "scopes": ["write"]}}


@dataclass(frozen=True)
class Ops:
    """A running ops process."""

    url: str
    process: subprocess.Popen[str]

    def request(
        self, method: str, path: str, *, token: str | None = TOKEN, headers: dict[str, str] | None = None
    ) -> urllib3.BaseHTTPResponse:
        """Ask it something; with ``token`` None, as anybody."""
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        return urllib3.request(
            method, self.url + path, headers=sent, timeout=10, retries=False, redirect=False
        )


StartOps = Callable[..., Ops]


@contextmanager
def running_ops(redis_url: str, data_dir: Path, **environ: str) -> Iterator[Ops]:
    """Run ``python -m deedbox.ops.web`` until the block ends."""
    port = free_port()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DEEDBOX_")}
    env = {
        **kept,
        "OPS_PORT": str(port),
        "DEEDBOX_REDIS_URL": redis_url,
        "DEEDBOX_DATA_DIR": str(data_dir),
        "DEEDBOX_API_KEYS": "k" * 64,
        "DEEDBOX_OPS_TOKEN": TOKEN,
        **environ,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "deedbox.ops.web"], env=env, text=True, stderr=subprocess.PIPE
    )
    ops = Ops(f"http://127.0.0.1:{port}", process)
    try:
        until(lambda: _answers(ops), "ops answers")
        yield ops
    finally:
        process.terminate()
        process.communicate(timeout=20)


def _answers(ops: Ops) -> bool:
    assert ops.process.poll() is None, ops.process.communicate()[1]
    try:
        return ops.request("GET", "/healthz").status == 200
    except urllib3.exceptions.HTTPError:
        return False


@pytest.fixture
def start_ops(redis_server: RedisServer, state: Redis, tmp_path: Path) -> Iterator[StartOps]:
    """Return a function that starts an ops process with these variables."""
    del state  # emptied
    with ExitStack() as stack:
        yield lambda **environ: stack.enter_context(running_ops(redis_server.url, tmp_path, **environ))


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the data directory of the process that the tests of a module share."""
    return tmp_path_factory.mktemp("ops")


@pytest.fixture(scope="module")
def ops(redis_server: RedisServer, data_dir: Path) -> Iterator[Ops]:
    """Lend an ops process to a module's tests: starting one takes seconds."""
    with running_ops(redis_server.url, data_dir, DEEDBOX_OPS_TOKENS=json.dumps(TOKENS)) as ops:
        yield ops


@pytest.fixture
def site(redis_server: RedisServer, state: Redis, tmp_path: Path) -> FlaskClient:
    """Return the pages and the API over the emptied server, in this process; nobody is signed in."""
    del state  # emptied
    settings = Settings.load({
        "DEEDBOX_REDIS_URL": redis_server.url, "DEEDBOX_DATA_DIR": str(tmp_path), "DEEDBOX_OPS_TOKEN": TOKEN,
        "DEEDBOX_OPS_TOKENS": json.dumps(TOKENS), "DEEDBOX_API_KEYS": "k" * 64,
    })  # fmt: skip
    return create_app(settings).test_client()


def sign_in(site: FlaskClient, token: str = TOKEN) -> None:
    """Sign a browser in, by the form."""
    form = Page(site.get("/login").text).form("Sign in")
    given = [(name, value) for name, value in form.fields if name != "token"]
    site.post(form.action, data=dict([*given, ("token", token)]))
