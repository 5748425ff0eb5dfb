"""What the ops process does beside answering: it looks at the installation again and again, from threads of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Final

from deedbox.ops.alerts import watch
from deedbox.ops.charts import samples
from deedbox.ops.installation import Installation
from deedbox.shared.core.errors import DeedboxError
from deedbox.shared.runtime import logs
from deedbox.shared.runtime.outage import Outage
from deedbox.shared.settings import Settings

SAMPLES_EVERY_S: Final = samples.INTERVAL_S / 4
"""Looks per interval: several, so that none is missed while another ops process ends."""

_log = logs.get("ops")


def start(settings: Settings) -> None:
    """Take the samples behind the charts, and report faults that last to whoever is told of them."""
    repeat(settings, "sampler", SAMPLES_EVERY_S, samples.take)
    found = watch.told(settings)
    if found:
        faults = watch.FaultWatch(found)
        repeat(settings, "alerts", watch.EVERY_S, lambda here: faults.once(here, time.monotonic()))


def repeat(settings: Settings, name: str, every_s: float, look: Callable[[Installation], object]) -> None:
    """Look again and again, from a thread that lives as long as its process."""
    threading.Thread(target=_run, args=(settings, name, every_s, look), name=name, daemon=True).start()


def _run(settings: Settings, name: str, every_s: float, look: Callable[[Installation], object]) -> None:
    outage = Outage(_log, f"{name}.waiting")
    while True:
        try:
            # Anew each time: the embedded Redis of the data directory may come back on another port.
            with closing(Installation(settings)) as installation:
                look(installation)
            outage.ended()
        except Exception as error:  # noqa: BLE001 - without this thread it would end silently
            detail = str(error) if isinstance(error, DeedboxError) else ""
            outage.lasts(error=type(error).__name__, detail=detail, frames=logs.frames(error.__traceback__))
        time.sleep(every_s)
