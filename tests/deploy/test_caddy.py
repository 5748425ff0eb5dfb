"""The shipped Caddy site, run by the real Caddy in front of two web processes."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

import psutil
import pytest
import urllib3

from tests.component.ingress.conftest import Server, free_port, listens, redis_broker, stop
from tests.component.ingress.test_web_process import ACK, Web, serving
from tests.component.workers.server import missing
from tests.deploy.processes import DEPLOY
from tests.support.waiting import until
from tests.unit.ingress.wire import MULTIPART, callback, multipart

__all__ = ["redis_broker"]

pytestmark = pytest.mark.real_redis

SITE: Final = DEPLOY / "caddy" / "Caddyfile"
"""A test cannot have its certificate: it listens on a port of this machine instead."""


@dataclass(frozen=True)
class Caddy:
    url: str
    webs: tuple[Web, Web]

    def ask(self, path: str = "/callbacks") -> urllib3.BaseHTTPResponse:
        body = multipart(callback())
        return urllib3.request(
            "POST", self.url + path, body=body, headers={"Content-Type": MULTIPART}, retries=False
        )


def received(web: Web) -> int:
    """Return how many callbacks a host has logged."""
    return web.log.read_text("utf-8").count('"event.received"')


def _binary() -> str:
    found = shutil.which("caddy", path="/usr/sbin:/usr/bin:/usr/local/bin")
    if found is None:
        missing("caddy was not found; install Debian's package caddy.")
    return found


@pytest.fixture(scope="module")
def caddy(redis_broker: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caddy]:
    folder, port, binary = tmp_path_factory.mktemp("caddy"), free_port(), _binary()
    with ExitStack() as stack:
        one, two = (
            stack.enter_context(serving(redis_broker.url, tmp_path_factory.mktemp("web"))) for _ in "12"
        )
        for web in (one, two):  # both end at the same time
            stack.callback(web.process.terminate)
        site = SITE.read_text("utf-8")
        for theirs, ours in (
            ("hooks.example.com {", f"http://127.0.0.1:{port} {{\n\tbind 127.0.0.1"),
            ("web1.internal:8000", f"127.0.0.1:{one.port}"),
            ("web2.internal:8000", f"127.0.0.1:{two.port}"),
        ):
            assert site.count(theirs) == 1, theirs
            site = site.replace(theirs, ours)
        (folder / "Caddyfile").write_text(f"{{\n\tadmin off\n}}\n{site}", "utf-8")
        log = stack.enter_context((folder / "log").open("wb"))
        process = subprocess.Popen(
            [binary, "run", "--config", str(folder / "Caddyfile")], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            env={"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)},
        )  # fmt: skip
        stack.callback(stop, process)
        until(lambda: process.poll() is not None or listens(port), "Caddy listens")
        assert process.poll() is None, (folder / "log").read_text("utf-8")
        found = Caddy(f"http://127.0.0.1:{port}", (one, two))
        until(lambda: found.ask().status == 200, "Caddy has found that its hosts are there")
        yield found


def test_the_site_is_written_as_caddy_writes_it() -> None:
    done = subprocess.run([_binary(), "fmt", str(SITE)], capture_output=True, text=True, check=True)
    assert done.stdout == SITE.read_text("utf-8")


def test_a_callback_goes_through_to_either_host(caddy: Caddy) -> None:
    answers = [caddy.ask() for _ in range(4)]
    assert [(each.status, each.data) for each in answers] == [(200, ACK)] * 4
    until(lambda: all(received(web) for web in caddy.webs), "both have logged it")


def test_only_callbacks_go_through(caddy: Caddy) -> None:
    for path in ("/", "/healthz", "/readyz", "/metrics"):
        assert caddy.ask(path=path).status == 404
    # The path is passed on as it came: ingress itself refuses this one.
    assert caddy.ask(path="/callbacks/nobody").json()["error"] == "unknown_source"


def test_a_host_that_is_away_is_left_and_taken_back(caddy: Caddy) -> None:
    arbiter = psutil.Process(caddy.webs[0].process.pid)
    processes = [arbiter, *arbiter.children(recursive=True)]
    for process in processes:
        process.suspend()
    try:
        until(lambda: [caddy.ask().status for _ in range(4)] == [200] * 4, "only the other host is asked")
    finally:
        for process in processes:
            process.resume()
    before = received(caddy.webs[0])
    until(lambda: caddy.ask().status == 200 and received(caddy.webs[0]) > before + 1, "it is asked again")
