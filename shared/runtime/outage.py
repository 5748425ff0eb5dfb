"""Log lines about trouble that lasts: an outage of hours must not bury everything else in the log."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from structlog.typing import FilteringBoundLogger

FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 60.0


class Outage:
    """One kind of trouble. For one thread.

    A line when it begins, further ones at intervals that double up to a minute, and one when it is over.
    """

    def __init__(
        self,
        log: FilteringBoundLogger,
        event: str,
        over: str | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``event`` and ``over`` name the lines; ``over`` is ``<first part of event>.resumed`` by default."""
        self._log = log
        self._event = event
        self._over = over or f"{event.partition('.')[0]}.resumed"
        self._monotonic = monotonic
        self._began: float | None = None
        self._due = 0.0
        self._pause_s = FIRST_PAUSE_S

    def lasts(self, **facts: Any) -> None:
        """Note that there is trouble; writes a line if one is due."""
        now = self._monotonic()
        if self._began is None:
            self._began = self._due = now
            self._pause_s = FIRST_PAUSE_S
        if now < self._due:
            return
        self._log.warning(self._event, for_s=round(now - self._began, 1), **facts)
        self._due = now + self._pause_s
        self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)

    def ended(self) -> None:
        """Note that all is well; writes a line if it was not."""
        if self._began is not None:
            self._log.info(self._over, after_s=round(self._monotonic() - self._began, 1))
            self._began = None
