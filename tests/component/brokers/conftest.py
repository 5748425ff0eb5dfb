"""Real servers that speak TLS: to whoever shows a certificate, with one of their own for 127.0.0.1 alone."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from deedbox.shared.redis.embedded import free_port
from tests.component.ingress.conftest import listens, stop
from tests.component.workers.server import missing, running_rabbitmq, server_binary
from tests.support.certificates import Authority, has_openssl

OTHER_NAME = "127.0.0.2"
"""Leads to the same servers, and is not in their certificate."""


@dataclass(frozen=True)
class Secure:
    """A server behind TLS."""

    scheme: str
    login: str
    port: int
    tail: str
    ours: Authority
    strangers: Authority
    certificate: Path
    key: Path

    def url(self, parameters: Mapping[str, object], host: str = "127.0.0.1") -> str:
        """Return its URL with these parameters."""
        query = "&".join(f"{name}={value}" for name, value in parameters.items())
        return f"{self.scheme}://{self.login}@{host}:{self.port}/{self.tail}" + (f"?{query}" if query else "")

    @property
    def right(self) -> dict[str, object]:
        """The parameters that it takes."""
        return {"ssl_ca_certs": self.ours.ca, "ssl_certfile": self.certificate, "ssl_keyfile": self.key}


@pytest.fixture(scope="session")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> tuple[Authority, Authority]:
    if not has_openssl():
        missing("No openssl was found to make certificates with.")
    folder = tmp_path_factory.mktemp("certificates")
    return Authority(folder / "ours", "ours"), Authority(folder / "strangers", "strangers")


@pytest.fixture(scope="session")
def secure_redis(
    authorities: tuple[Authority, Authority], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Secure]:
    ours, strangers = authorities
    certificate, key = ours.sign("redis", "IP:127.0.0.1")
    port = free_port()
    process = subprocess.Popen(
        [str(server_binary()), "--port", "0", "--tls-port", str(port), "--bind", "127.0.0.1", OTHER_NAME,
         "--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-ca-cert-file", str(ours.ca),
         "--tls-auth-clients", "yes", "--requirepass", "s3cret", "--save", "", "--appendonly", "yes"],
        cwd=tmp_path_factory.mktemp("redis"), stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until = time.monotonic() + 10
        while not listens(port):
            if process.poll() is not None:
                missing("This Redis server was built without TLS.")
            assert time.monotonic() < until
            time.sleep(0.05)
        yield Secure(
            "rediss", ":s3cret", port, "0", ours, strangers, *ours.sign("client-of-redis", "DNS:client")
        )
    finally:
        stop(process)


@pytest.fixture(scope="session")
def secure_rabbitmq(
    authorities: tuple[Authority, Authority], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Secure]:
    ours, strangers = authorities
    certificate, key = ours.sign("rabbitmq", "IP:127.0.0.1")
    port = free_port()
    listeners = f"listeners.ssl.1 = 127.0.0.1:{port}\nlisteners.ssl.2 = {OTHER_NAME}:{port}\n"
    options = {
        "cacertfile": ours.ca, "certfile": certificate, "keyfile": key,
        "verify": "verify_peer", "fail_if_no_peer_cert": "true",
    }  # fmt: skip
    config = listeners + "".join(f"ssl_options.{name} = {value}\n" for name, value in options.items())
    with running_rabbitmq(tmp_path_factory.mktemp("rabbitmq"), config):
        until = time.monotonic() + 20
        while not listens(port):
            assert time.monotonic() < until
            time.sleep(0.1)
        made = ours.sign("client-of-rabbitmq", "DNS:client")
        yield Secure("amqps", "guest:guest", port, "/", ours, strangers, *made)


@pytest.fixture(params=["redis", "rabbitmq"])
def secure(request: pytest.FixtureRequest) -> Secure:
    found: Secure = request.getfixturevalue(f"secure_{request.param}")
    return found
