"""The shipped sites for Caddy and nginx, run by the real servers in front of real web processes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil
import pytest
import urllib3

from deedbox.shared.broker.message import decode_kombu
from deedbox.shared.redis import keys
from deedbox.shared.redis.embedded import free_port
from tests.component.ingress.conftest import listens, stop
from tests.component.ingress.test_web_process import ACK
from tests.component.workers.server import RedisServer, missing, server_binary
from tests.deploy.processes import DEPLOY
from tests.support.waiting import until
from tests.unit.ingress.wire import KEY, MULTIPART, callback, multipart

pytestmark = pytest.mark.real_redis

NGINX: Final = DEPLOY / "nginx"
CADDY: Final = DEPLOY / "caddy" / "Caddyfile"
TENANTS: Final = (("acme", "bolt"), ("cedar",))
"""Of the first installation, and of the second."""


@dataclass(frozen=True)
class Installation:
    """A web process with a Redis of its own."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path
    redis: RedisServer

    def received(self) -> int:
        """Return how many callbacks it has logged."""
        return self.log.read_text("utf-8").count('"event.received"')

    def sources(self) -> list[str]:
        """Return the sources of the callbacks that wait in its broker, the first one first."""
        with self.redis.client() as link:
            messages = link.lrange(keys.RAW_QUEUE, 0, -1)
        assert isinstance(messages, list)
        return [decode_kombu(message)[0]["source"] for message in reversed(messages)]


@dataclass(frozen=True)
class Site:
    url: str

    def ask(self, path: str = "/callbacks", key: str = KEY) -> urllib3.BaseHTTPResponse:
        return urllib3.request(
            "POST", self.url + path, body=multipart(callback(key=key)), headers={"Content-Type": MULTIPART},
            retries=False, timeout=20,
        )  # fmt: skip


def binary(name: str, package: str) -> str:
    found = shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/bin")
    if found is None:
        missing(f"{name} was not found; install Debian's package {package}.")
    return found


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Installation, Installation]]:
    """Run two installations; both have the source ``default``, and each has tenants of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DEEDBOX_")}
    with ExitStack() as stack:
        found = []
        for tenants in TENANTS:
            folder = tmp_path_factory.mktemp("installation")
            redis = RedisServer(server_binary(), folder)
            redis.start()
            stack.callback(redis.kill)
            port, log = free_port(), folder / "log"
            settings = {
                "DEEDBOX_API_KEYS": KEY, "DEEDBOX_REDIS_URL": redis.url, "DEEDBOX_SPOOL": "off", "PORT": str(port),
                "DEEDBOX_SOURCES": json.dumps({name: {"api_keys": [name]} for name in tenants}),
                "DEEDBOX_WEB_WORKERS": "1", "DEEDBOX_DATA_DIR": str(folder / "var"),
            }  # fmt: skip
            process = subprocess.Popen(
                [sys.executable, "-m", "deedbox.ingress"], env={**kept, **settings},
                stderr=stack.enter_context(log.open("wb")),
            )  # fmt: skip
            stack.callback(stop, process)
            found.append(Installation(port, process, log, redis))
        for each in found:
            stack.callback(each.process.terminate)  # both end at the same time
            until(lambda each=each: listens(each.port), "web listens")  # type: ignore[misc] # bound at once
        yield found[0], found[1]


@contextmanager
def running(command: list[str], port: int, folder: Path) -> Iterator[Site]:
    """Run a proxy until the block ends."""
    environment = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        try:
            until(lambda: process.poll() is not None or listens(port), "the proxy listens")
            assert process.poll() is None, (folder / "log").read_text("utf-8")
            yield Site(f"http://127.0.0.1:{port}")
        finally:
            stop(process)


def changed(text: str, *changes: tuple[str, str]) -> str:
    """Return a shipped file with what a reader changes in it."""
    for theirs, ours in changes:
        assert text.count(theirs) == 1, theirs
        text = text.replace(theirs, ours)
    return text


@pytest.fixture(scope="module")
def caddy(
    both: tuple[Installation, Installation], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """Run the shipped site without a certificate, which it could not get here."""
    folder, port = tmp_path_factory.mktemp("caddy"), free_port()
    site = changed(
        CADDY.read_text("utf-8"),
        ("hooks.example.com {", f"http://127.0.0.1:{port} {{\n\tbind 127.0.0.1"),
        *((f"web{n}.internal:8000", f"127.0.0.1:{each.port}") for n, each in enumerate(both, 1)),
    )
    (folder / "Caddyfile").write_text(f"{{\n\tadmin off\n}}\n{site}", "utf-8")
    with running(
        [binary("caddy", "caddy"), "run", "--config", str(folder / "Caddyfile")], port, folder
    ) as found:
        until(lambda: found.ask().status == 200, "Caddy has found that its hosts are there")
        yield found


@pytest.fixture(scope="module")
def nginx(
    both: tuple[Installation, Installation], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """Run the shipped site for several installations without TLS, with one web host for each of them."""
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    text = (NGINX / "sources.conf").read_text("utf-8")
    site = changed(
        re.sub(r"^ *ssl_certificate.*\n|^ *server \w+-web2\S+ max_fails=0;\n", "", text, flags=re.MULTILINE),
        ("listen 443 ssl;", f"listen 127.0.0.1:{port};"),
        ("/etc/nginx/deedbox/callbacks.conf", str(NGINX / "callbacks.conf")),
        *(
            (f"{n}-web1.internal:8000", f"127.0.0.1:{each.port}")
            for n, each in zip(("one", "two"), both, strict=True)
        ),
    )
    places = " ".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; user root; pid {folder}/pid;\nevents {{}}\nhttp {{ access_log off; {places}\n{site}\n}}\n",
        "utf-8",
    )
    command = [
        binary("nginx", "nginx-light"),
        "-c",
        str(folder / "nginx.conf"),
        "-e",
        str(folder / "error.log"),
    ]
    with running(command, port, folder) as found:
        yield found


def test_the_site_of_caddy_is_written_as_caddy_writes_it() -> None:
    done = subprocess.run(
        [binary("caddy", "caddy"), "fmt", str(CADDY)], capture_output=True, text=True, check=True
    )
    assert done.stdout == CADDY.read_text("utf-8")


def test_caddy_passes_callbacks_to_either_host(caddy: Site, both: tuple[Installation, Installation]) -> None:
    before = [each.received() for each in both]
    answers = [caddy.ask() for _ in range(4)]
    assert [(each.status, each.data) for each in answers] == [(200, ACK)] * 4
    until(
        lambda: all(each.received() > count for each, count in zip(both, before, strict=True)), "both got one"
    )


def test_caddy_passes_nothing_but_callbacks(caddy: Site) -> None:
    for path in ("/", "/healthz", "/readyz", "/metrics"):
        assert caddy.ask(path).status == 404
    # The path is passed on as it came: ingress itself refuses this one.
    assert caddy.ask("/callbacks/nobody").json()["error"] == "unknown_source"


def test_caddy_leaves_a_host_that_is_away_and_takes_it_back(
    caddy: Site, both: tuple[Installation, Installation]
) -> None:
    arbiter = psutil.Process(both[0].process.pid)
    processes = [arbiter, *arbiter.children(recursive=True)]
    for process in processes:
        process.suspend()
    try:
        until(lambda: [caddy.ask().status for _ in range(4)] == [200] * 4, "only the other host is asked")
    finally:
        for process in processes:
            process.resume()
    before = both[0].received()
    until(lambda: caddy.ask().status == 200 and both[0].received() > before + 1, "it is asked again")


def test_nginx_sends_each_tenant_to_the_installation_that_has_it_and_to_no_other(
    nginx: Site, both: tuple[Installation, Installation]
) -> None:
    for tenants in TENANTS:
        for name in tenants:
            assert nginx.ask(f"/callbacks/{name}", key=name).data == ACK
    # Ingress has the last word: it takes the key of this tenant only.
    assert nginx.ask("/callbacks/cedar", key="acme").status == 401
    assert [[name for name in each.sources() if name != "default"] for each in both] == [
        list(each) for each in TENANTS
    ]


def test_nginx_answers_for_a_tenant_that_no_installation_has(nginx: Site) -> None:
    for path in ("/callbacks/nobody", "/callbacks/acme2", "/callbacks/", "/callbacks", "/", "/healthz"):
        answer = nginx.ask(path)
        # Ingress itself would answer in JSON.
        assert (answer.status, answer.headers["Content-Type"]) == (404, "text/html")


def test_a_tenant_whose_installation_is_away_is_alone_with_that(
    nginx: Site, both: tuple[Installation, Installation]
) -> None:
    """The last test: it ends one."""
    stop(both[0].process)
    assert nginx.ask("/callbacks/acme", key="acme").status == 502
    assert nginx.ask("/callbacks/cedar", key="cedar").data == ACK
