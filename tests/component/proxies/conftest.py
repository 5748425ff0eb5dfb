"""Stock reverse proxies in front of a real ops process, with their default directives: what most people run first."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from deedbox.shared.redis.embedded import free_port
from tests.component.ops_web.conftest import Ops, data_dir, ops
from tests.component.workers.server import missing, until

__all__ = ["data_dir", "ops"]

NGINX: Final = """
daemon off; user root; pid {folder}/nginx.pid; error_log stderr warn;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  {cache}
  server {{ listen 127.0.0.1:{port}; location / {{ {location} proxy_pass {upstream}; }} }}
}}
"""
SHIPPED: Final = """
daemon off; user root; pid {folder}/nginx.pid; error_log stderr warn;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  include {folder}/ops.conf;
}}
"""
"""Around ``deploy/nginx/ops.conf``."""

CADDY: Final = """
{{
  admin off
  storage file_system {folder}/caddy
}}
http://127.0.0.1:{port} {{
  bind 127.0.0.1
  reverse_proxy {address}
}}
"""
HAPROXY: Final = """
defaults
  mode {mode}
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend front
  bind 127.0.0.1:{port}
  default_backend ops
backend ops
  server ops {address}
"""

CACHED: Final = {
    "cache": "proxy_cache_path {folder}/cache keys_zone=z:1m;",
    "location": "proxy_cache z; add_header X-Cache $upstream_cache_status;",
}
PROXIES: Final[dict[str, tuple[str, str, dict[str, str]]]] = {
    "nginx": ("nginx", NGINX, {"cache": "", "location": ""}),
    "nginx-cache": ("nginx", NGINX, CACHED),
    "nginx-shipped": ("nginx", SHIPPED, {}),
    "caddy": ("caddy", CADDY, {}),
    "haproxy-http": ("haproxy", HAPROXY, {"mode": "http"}),
    "haproxy-tcp": ("haproxy", HAPROXY, {"mode": "tcp"}),
}
COMMANDS: Final[dict[str, Callable[[Path], list[str]]]] = {
    "nginx": lambda file: ["-c", str(file), "-p", str(file.parent)],
    "caddy": lambda file: ["run", "--config", str(file), "--adapter", "caddyfile"],
    "haproxy": lambda file: ["-db", "-f", str(file)],
}


def program(name: str) -> str:
    """Return a proxy's binary; skips or fails without it."""
    found = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin")
    if found is None:
        missing(
            f"{name} was not found; install Debian's package {'nginx-light' if name == 'nginx' else name}."
        )
    return found


def shipped(port: int, upstream: str) -> str:
    """Return the example of the documentation, with the ports of this test and without TLS."""
    text = (Path(__file__).parents[3] / "deploy" / "nginx" / "ops.conf").read_text("utf-8")
    text = re.sub(r"^ *ssl_certificate.*\n", "", text, flags=re.MULTILINE)
    return text.replace("listen 443 ssl", f"listen 127.0.0.1:{port}").replace(
        "http://127.0.0.1:8001", upstream
    )


@pytest.fixture(scope="module", params=sorted(PROXIES))
def proxied(
    request: pytest.FixtureRequest, ops: Ops, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ops]:
    """Lend ops behind one of the proxies."""
    name, template, options = PROXIES[request.param]
    folder = tmp_path_factory.mktemp(name)
    binary, port, file = program(name), free_port(), folder / "proxy.conf"
    address = ops.url.removeprefix("http://")
    (folder / "ops.conf").write_text(shipped(port, ops.url))
    filled = {key: text.format(folder=folder) for key, text in options.items()}
    file.write_text(template.format(folder=folder, port=port, upstream=ops.url, address=address, **filled))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [binary, *COMMANDS[name](file)], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            env={"HOME": str(folder), "PATH": "/usr/sbin:/usr/bin:/bin", "XDG_DATA_HOME": str(folder)},
        )  # fmt: skip
        try:
            until(lambda: process.poll() is not None or _listens(port), f"{name} listens")
            assert process.poll() is None, (folder / "log").read_text()
            yield Ops(f"http://127.0.0.1:{port}", ops.process)
        finally:
            process.terminate()
            process.wait(10)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
