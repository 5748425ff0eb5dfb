"""What every operation that waits shares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, cast

from flask import current_app, request
from redis import Redis

from deedbox.ops.installation import Installation
from deedbox.ops.web.api.watcher import Lifetime, Patience, Probe, Seats, Watcher
from deedbox.shared.redis.connections import translating
from deedbox.shared.runtime.wsgi_call import CLIENT_GONE

WAIT_MAX_S: Final = 25.0
"""Shorter than the 30 s after which many clients and proxies give up."""

RETRY_AFTER_S: Final = 2
LIFETIME: Final = "deedbox.lifetime"


@dataclass
class WaitingRoom:
    """The one watcher of the process, and the seats."""

    installation: Installation
    seats: Seats = field(default_factory=Seats)

    @cached_property
    def watcher(self) -> Watcher:
        """The watcher."""
        return Watcher(lambda: self.redis)

    @property
    def redis(self) -> Redis:
        """Client of the state. Raises SettingsError if nothing runs here."""
        return self.installation.redis

    @translating()
    def look(self, probe: Probe) -> Any:
        """Ask Redis now. Raises Unavailable."""
        ask: Callable[..., Any] = self.redis.execute_command
        return ask(*probe)

    def patience(self, seconds: float) -> Patience:
        """Return the patience of the client that asks."""
        return Patience(seconds, _client_gone(), cast("Lifetime", current_app.extensions[LIFETIME]))

    def wait(self, probe: Probe, seen: Any, met: Callable[[Any], bool], seconds: float) -> bool:
        """Wait until what Redis says is what the client waits for. Returns False, at once, if no seat is free."""
        patience = self.patience(seconds)
        with self.seats.taken() as seated:
            if not seated:
                return False
            with self.watcher.watching(probe, seen) as watch:
                while wait_s := patience.left_s:
                    reply = watch.changed(wait_s)
                    if reply is not None and met(reply):
                        break
        return True


def _client_gone() -> Callable[[], bool]:
    """Return what tells whether the client that asks has left, if the server knows."""
    return cast("Callable[[], bool]", request.environ.get(CLIENT_GONE, lambda: False))
