"""Deedbox on several hosts, each with its own address, name, disk and processes, as a team runs it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import urllib3
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from deedbox.ops.demo import home
from tests.component.workers.server import missing, server_binary
from tests.hosts.differences import HostKind
from tests.hosts.network import Host, Network
from tests.hosts.processes import Kept
from tests.support.rabbitmq import RabbitServer
from tests.support.waiting import until

ROOT: Final = Path(__file__).parents[2]
API_KEY: Final = "a" * 64
PASSWORD: Final = "s3cret"
WEB_PORT: Final = 8000
OPS_PORT: Final = 8001
PROXY_PORT: Final = 8080


class HostRabbit(RabbitServer):
    """A RabbitMQ node on a host."""

    def __init__(self, folder: Path, host: Host) -> None:
        self._host = host
        super().__init__(folder, host.address)

    def command(self, *command: str) -> list[str]:
        return self._host.command(*command)

    def listens(self) -> bool:
        return bool(on(self._host, lambda: reaches(self._host.address, self._port)))


class Deployment:
    """The hosts and their processes; ``close`` ends them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.network = Network()
        self.sender = self.network.host("sender")
        self.kept: dict[str, Kept] = {}
        self._closers: list[Callable[[], None]] = []
        self._settings: dict[str, str] = {}
        self._kinds: dict[str, HostKind] = {}
        self.record = folder / "record.jsonl"

    def close(self) -> None:
        """End everything, hosts last."""
        for kept in self.kept.values():
            kept.close()
        for close in reversed(self._closers):
            close()
        self.network.close()

    def settings(self, **more: str) -> None:
        """Set what every process of every host gets."""
        self._settings.update(more)

    def redis(self, name: str, *options: str, port: int = 6379) -> Host:
        """Add a host with a Redis on it. ``options``: further lines of its configuration."""
        host = self.network.host(name)
        # A file, which Sentinel has Redis rewrite: from a command line an elected master would start as a replica again.
        configuration = self._folder(host) / "redis.conf"
        lines = (f"port {port}", "bind 0.0.0.0", "appendonly yes", "appendfsync always", 'save ""',
                 f"requirepass {PASSWORD}", f"masterauth {PASSWORD}", *options)  # fmt: skip
        configuration.write_text("\n".join(lines) + "\n")
        self.keep(host, "redis", str(server_binary()), str(configuration))
        until(lambda: self.ping(host, port), f"Redis on {name} answers")
        return host

    def rabbitmq(self, name: str) -> tuple[Host, HostRabbit]:
        """Add a host with a RabbitMQ on it."""
        if not RabbitServer.installed():
            missing("No RabbitMQ was found; install Debian's package rabbitmq-server.")
        host = self.network.host(name)
        server = HostRabbit(self.folder / name, host)
        self._closers.append(server.close)
        server.start()
        return host, server

    def web(self, name: str) -> Host:
        """Add a host with ingress on it."""
        host = self.network.host(name)
        self._start(host, "web", "deedbox.ingress")
        until(lambda: on(self.sender, lambda: reaches(host.address, WEB_PORT)), f"{name} listens")
        return host

    def workers(self, name: str, lanes: Iterable[str] = ("sequencer", "default")) -> Host:
        """Add a host with bridge, a sweeper and one worker for each of these lanes on it."""
        host = self.network.host(name)
        self._start(host, "bridge", "deedbox.workers", "bridge")
        self._start(host, "sweeper", "deedbox.workers", "sweeper")
        for lane in lanes:
            self._start(host, lane, "deedbox.workers", "worker", "--lane", lane)
        return host

    def ops(self, name: str) -> Host:
        """Add a host with the ops pages on it."""
        host = self.network.host(name)
        self._start(host, "ops", "deedbox.ops.web", DEEDBOX_OPS_BIND="0.0.0.0", DEEDBOX_OPS_HOSTS=host.address,
                    DEEDBOX_OPS_TOKEN=API_KEY)  # fmt: skip
        until(lambda: on(self.sender, lambda: reaches(host.address, OPS_PORT)), "ops listens")
        return host

    def proxy(self, webs: Iterable[Host]) -> Host:
        """Add a host with nginx on it: the shipped site, with this deployment's names and without TLS."""
        if shutil.which("nginx") is None:
            missing("No nginx was found; install Debian's package nginx-light.")
        host, (one, two) = self.network.host("proxy"), webs
        shipped = ROOT / "deploy" / "nginx"
        site = (shipped / "site.conf").read_text("utf-8")
        for theirs, ours in (
            ("web1.internal:8000", f"{one.address}:{WEB_PORT}"),
            ("web2.internal:8000", f"{two.address}:{WEB_PORT}"),
            ("/etc/nginx/deedbox/callbacks.conf", str(shipped / "callbacks.conf")),
            ("listen 443 ssl;", f"listen {PROXY_PORT};"),
        ):
            assert theirs in site, theirs
            site = site.replace(theirs, ours)
        site = "\n".join(line for line in site.splitlines() if "ssl_certificate" not in line)
        folder = self._folder(host)
        for name in ("body", "proxy"):
            (folder / name).mkdir()
        (folder / "nginx.conf").write_text(
            f"daemon off; user root; pid {folder}/pid; error_log {folder}/error.log;\nevents {{}}\n"
            f"http {{ access_log {folder}/access.log; client_body_temp_path {folder}/body;\n"
            f"proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u;\n"
            f"scgi_temp_path {folder}/s;\n{site}\n}}\n"
        )
        self.keep(host, "nginx", "nginx", "-c", str(folder / "nginx.conf"), "-e", str(folder / "start.log"))
        until(lambda: on(self.sender, lambda: reaches(host.address, PROXY_PORT)), "nginx listens")
        return host

    def ping(self, host: Host, port: int = 6379) -> bool:
        """Tell whether the Redis of a host answers a client on the sender's host."""

        def asked() -> bool:
            try:
                with Redis(
                    host.address, port, password=PASSWORD, socket_timeout=1, retry=Retry(NoBackoff(), 0)
                ) as it:
                    return bool(it.ping())
            except RedisError:
                return False

        return bool(on(self.sender, asked))

    def _start(self, host: Host, name: str, module: str, *words: str, **more: str) -> None:
        settings = {
            "DEEDBOX_API_KEYS": API_KEY, "DEEDBOX_BIND": "0.0.0.0", "PORT": str(WEB_PORT), "OPS_PORT": str(OPS_PORT),
            "DEEDBOX_DATA_DIR": str(self._folder(host)), "DEEDBOX_ACTIONS": "deedbox.workers.builtins.recorder",
            "DEEDBOX_RECORD_PATH": str(self.record), "DEEDBOX_BUILTINS": "track_status", "DEEDBOX_GAP_AFTER_S": "0",
            "DEEDBOX_HOLD_S": str(home.HOLD_S * 10), "DEEDBOX_LOG_FORMAT": "json", **self._settings, **more,
        }  # fmt: skip
        self.keep(host, name, sys.executable, "-m", module, *words, **settings)

    def kind(self, name: str) -> HostKind:
        """Return what is special about a host, to be changed."""
        return self._kinds.setdefault(name, HostKind())

    def keep(self, host: Host, name: str, *command: str, **settings: str) -> None:
        """Keep a command running on a host."""
        kind = self.kind(host.name)
        self.kept[f"{host.name} {name}"] = Kept(
            host, command, lambda: {**kind.environment(), **settings}, self._folder(host)
        )

    def of(self, name: str) -> Iterator[Kept]:
        """Return the processes of a host."""
        return (kept for place, kept in self.kept.items() if place.startswith(f"{name} "))

    def _folder(self, host: Host) -> Path:
        folder = self.folder / host.name
        folder.mkdir(exist_ok=True)
        return folder


def on(host: Host, ask: Callable[[], Any]) -> Any:
    """Call a function in a thread on a host; its sockets are the host's."""
    with ThreadPoolExecutor(1, initializer=host.enter) as thread:
        return thread.submit(ask).result()


def reaches(address: str, port: int) -> bool:
    """Tell whether somebody listens there, from where the calling thread is."""
    with urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(connect=1, read=1)) as connections:
        try:
            connections.request("GET", f"http://{address}:{port}/healthz")
        except urllib3.exceptions.ConnectTimeoutError:
            return False
        except urllib3.exceptions.NewConnectionError:
            return False
        except urllib3.exceptions.HTTPError:  # another protocol: somebody is there
            return True
        return True
