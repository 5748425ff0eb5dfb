"""Takes the samples behind the charts, from a thread of the ops process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from deedbox.ops.charts import samples
from deedbox.ops.installation import Installation
from deedbox.shared.core.errors import DeedboxError
from deedbox.shared.runtime import logs
from deedbox.shared.runtime.outage import Outage
from deedbox.shared.settings import Settings

EVERY_S: Final = samples.INTERVAL_S / 4
"""Looks per interval: several, so that none is missed while another ops process ends."""

_log = logs.get("ops")


class Sampler:
    """A thread that lives as long as its process. An outage leaves a gap in the charts."""

    def __init__(self, take: Callable[[], object], every_s: float = EVERY_S) -> None:
        self._take = take
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._outage = Outage(_log, "sampler.waiting")

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; returns when the thread has."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._once()
            self._stop.wait(self._every_s)

    def _once(self) -> None:
        try:
            self._take()
        except Exception as error:  # noqa: BLE001 - without this thread the charts would end silently
            detail = str(error) if isinstance(error, DeedboxError) else ""
            self._outage.lasts(error=type(error).__name__, detail=detail)
        else:
            self._outage.ended()


def start(settings: Settings) -> Sampler:
    """Start the sampler of a process."""
    installation: list[Installation] = []

    def take() -> bool:
        # Anew after a failure: the embedded Redis of the data directory may come back on another port.
        if not installation:
            installation.append(Installation(settings))
        try:
            return samples.take(installation[0])
        except Exception:
            installation.clear()
            raise

    sampler = Sampler(take)
    sampler.start()
    return sampler
