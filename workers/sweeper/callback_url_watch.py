"""The sweeper's part in checking callback URLs: every quarter of an hour, one of the sweepers requests a check."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from deedbox.shared.redis import keys
from deedbox.shared.sources import Source
from deedbox.workers.builtins.watch_callback_url import DUE, event_payload, targets
from deedbox.workers.internal_events import Filed, Filing, FilingGuard

EVERY_S: Final = 900
"""After a removed URL, callbacks are lost for good once their retries are over, days later; the account has 60 calls a minute."""

ASK_EVERY_S: Final = 15.0
"""How often this process looks whether it is time: one small script."""

TOPIC: Final = "callback_url"


class CallbackUrlWatch:
    """Files one event per account and app when it is time to; any number may run."""

    def __init__(
        self, filing: Filing, sources: Mapping[str, Source], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._filing = filing
        self._sources = sources
        self._clock = clock
        self._asked_at = float("-inf")

    def once(self) -> None:
        """File the looks, if it is time to. Raises Unavailable."""
        if self._clock() < self._asked_at + ASK_EVERY_S:
            return
        now = time.time()
        events = [
            Filed(DUE, source.name, TOPIC, event_payload(target, now))
            for source in self._sources.values()
            for target in targets(source)
        ]
        self._filing.file(FilingGuard(keys.CALLBACK_URL_WATCHED, b"", "1", EVERY_S), events, now)
        self._asked_at = self._clock()
