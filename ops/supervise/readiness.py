"""Finds out whether everything that was started answers: the web process over HTTP, the workers of each lane in Redis."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Final, cast

from redis import Redis
from redis.exceptions import RedisError

from deedbox.shared.redis import keys
from deedbox.shared.redis.scripting import text
from deedbox.shared.settings import Settings

POLL_S: Final = 0.1
_TIMEOUT_S: Final = 2.0
_READY: Final = 200
_CLOCK_SLACK_S: Final = 1.0

_ANY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - recognised, not bound


def web_host(settings: Settings) -> str:
    """Return an address under which this machine reaches its own web process."""
    return _ANY_ADDRESS.get(settings.bind, settings.bind)


def callback_url(settings: Settings) -> str:
    """Return the URL of the callbacks of source ``default``, as this machine sees it."""
    return f"http://{_in_url(web_host(settings))}:{settings.port}/callbacks"


def ops_url(settings: Settings) -> str:
    """Return the URL of the dashboard, as this machine sees it."""
    return f"http://{_in_url(_ANY_ADDRESS.get(settings.ops_bind, settings.ops_bind))}:{settings.ops_port}/"


def metrics_url(settings: Settings) -> str:
    """Return the URL of ingress's own metrics, as this machine sees it."""
    host = _ANY_ADDRESS.get(settings.metrics_bind, settings.metrics_bind)
    return f"http://{_in_url(host)}:{settings.metrics_port}/metrics"


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


class StartupCheck:
    """Looks at one set of processes that was started at ``since`` (unix seconds)."""

    def __init__(self, settings: Settings, redis: Redis, lanes: Mapping[str, int], since: float) -> None:
        self._settings = settings
        self._redis = redis
        self._lanes = lanes
        self._since = since - _CLOCK_SLACK_S

    def missing(self) -> list[str]:
        """Name what does not answer yet; empty: everything is ready."""
        web = [] if self._web_ready() else ["web"]
        try:
            return web + [
                f"worker-{lane}" for lane, count in self._lanes.items() if self._workers_of(lane) < count
            ]
        except RedisError:
            return [*web, "redis"]

    def wait(self, stop: threading.Event, patience_s: float) -> list[str]:
        """Wait until nothing is missing, ``stop`` is set or the patience (seconds) is over; name what is missing."""
        deadline = time.monotonic() + patience_s
        while (missing := self.missing()) and time.monotonic() < deadline and not stop.wait(POLL_S):
            pass
        return missing

    def _web_ready(self) -> bool:
        # No urllib.request: it would send the question to a proxy that the environment names.
        connection = http.client.HTTPConnection(
            web_host(self._settings), self._settings.port, timeout=_TIMEOUT_S
        )
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == _READY
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _workers_of(self, lane: str) -> int:
        """Count the lane's workers that registered since the start: those of a killed run are there for a while."""
        names = cast("set[bytes]", self._redis.smembers(f"rq:workers:{keys.rq_queue(lane)}"))
        births = [cast("bytes | None", self._redis.hget(text(name), "birth")) for name in names]
        return sum(_unix_seconds(birth) >= self._since for birth in births if birth is not None)


def _unix_seconds(birth: bytes) -> float:
    try:
        return datetime.fromisoformat(text(birth)).timestamp()
    except ValueError:
        return 0.0
