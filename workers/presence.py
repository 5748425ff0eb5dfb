"""Says in Redis that this process lives and what it runs, from a thread: RQ's own heartbeat waits while a call runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from deedbox.shared.core.errors import Unavailable
from deedbox.shared.records import presence
from deedbox.shared.records.presence import BEAT_S, LIFE_S, Presence
from deedbox.shared.redis import script_calls
from deedbox.shared.redis.scripting import Scripts


class Announcer:
    """Announces one process until ``end``."""

    def __init__(self, scripts: Scripts, name: str, describe: Callable[[], Presence]) -> None:
        """``scripts``: on a client that does not wait for long, for Redis may be away."""
        self._scripts = scripts
        self._name = name
        self._describe = describe
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="presence", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def end(self) -> None:
        """Say that this process ends. Raises Unavailable; then it counts as living for some seconds more."""
        self._over.set()
        self._thread.join(1.0)
        self._say(0, b"")

    def _run(self) -> None:
        while not self._over.is_set():
            with suppress(Unavailable):  # the next word may be heard
                self._say(LIFE_S, presence.dump(self._describe()))
            self._over.wait(BEAT_S)

    def _say(self, life_s: float, document: bytes) -> None:
        script_calls.present(self._scripts, self._name, life_s=life_s, document=document)
