"""Plays a delivery schedule against an ingress URL: real HTTP/1.1 POSTs, the vendor's acknowledgement rule and retries."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

import urllib3
from urllib3.util import SKIP_HEADER, parse_url

from deedbox.shared.simulator.ledger import Counts, DeliveryOutcome, DeliveryRecord, Ledger
from deedbox.shared.simulator.lifecycle import SimulatedCallback
from deedbox.shared.simulator.traffic import FORGER_API_KEY, Delivery, DeliveryKind
from deedbox.shared.simulator.wire import ACK, multipart_request

VENDOR_RETRY_LADDER_S: Final = (300.0, 900.0, 2_700.0, 8_100.0, 24_300.0, 72_900.0)
"""Waits before the six retries: 5 min, 15 min, 45 min, 2 h 15, 6 h 45, 20 h 15."""

_OK: Final = 200
_UNAUTHORIZED: Final = 401

_POLL_S: Final = 0.05
"""Longest sleep of an idle thread: the caller's stop event cannot wake it."""


@dataclass(frozen=True, slots=True)
class PlayerPolicy:
    """How deliveries are made; times in seconds."""

    threads: int = 16
    """Deliveries in flight at most. Too few, and deliveries start late (``DeliveryRecord.started_late_s``)."""
    timeout_s: float = 25.0
    """The shorter of the two timeouts that the vendor's pages name."""
    retry_ladder_s: tuple[float, ...] = VENDOR_RETRY_LADDER_S
    ladder_scale: float = 1.0
    """Factor on the ladder: 1/3000 makes the first retry after 0.1 s and the last after 24 s."""


class Player:
    """Plays schedules, one at a time.

    ``on_occurred`` is called before the first attempt of every genuine delivery (the files API follows it);
    ``on_progress`` after every attempt, under the player's lock: it must return quickly. Both run in the
    player's threads.
    """

    def __init__(
        self,
        url: str,
        api_key: str,
        policy: PlayerPolicy,
        *,
        on_occurred: Callable[[SimulatedCallback], None] | None = None,
        on_progress: Callable[[Counts], None] | None = None,
    ) -> None:
        if not parse_url(url).host:
            raise ValueError("the ingress URL has no host")
        self._url = url
        self._api_key = api_key
        self._policy = policy
        self._on_occurred = on_occurred
        self._on_progress = on_progress

    def play(self, deliveries: Iterable[Delivery], stop: threading.Event) -> Ledger:
        """Make every delivery at its time and retry failures until acked, refused or given up.

        Returns when all are settled, or soon after ``stop`` is set: requests in flight are finished
        (at most ``timeout_s``), the rest is recorded as unfinished.
        """
        run = _Run(self._policy, deliveries, stop, self._on_progress)
        with (
            urllib3.PoolManager(maxsize=self._policy.threads, retries=False) as connections,
            ThreadPoolExecutor(self._policy.threads, thread_name_prefix="player") as threads,
        ):
            futures = [
                threads.submit(self._deliver_until_done, run, connections)
                for _ in range(self._policy.threads)
            ]
            try:
                for future in futures:
                    future.result()
            finally:
                run.abort()
        return run.close()

    def _deliver_until_done(self, run: _Run, connections: urllib3.PoolManager) -> None:
        try:
            while (pending := run.take()) is not None:
                genuine = pending.delivery.kind is not DeliveryKind.BAD_SIGNATURE
                if genuine and pending.attempts == 1 and self._on_occurred is not None:
                    self._on_occurred(pending.delivery.callback)
                run.settle(*self._attempt(pending, connections))
        except BaseException:
            run.abort()  # a thread that dies holds a delivery: the others would wait for it for ever
            raise

    def _attempt(
        self, pending: DeliveryRecord, connections: urllib3.PoolManager
    ) -> tuple[DeliveryRecord, DeliveryOutcome | None]:
        """POST once; the outcome is None if the vendor would try again."""
        forged = pending.delivery.kind is DeliveryKind.BAD_SIGNATURE
        request = multipart_request(
            pending.delivery.callback.json_text, FORGER_API_KEY if forged else self._api_key
        )
        started = time.monotonic()
        status, body = self._post(connections, request.headers, request.body)
        after = replace(pending, status=status, latency_s=time.monotonic() - started)
        if status == _OK and body == ACK:
            return after, DeliveryOutcome.FORGERY_ACKED if forged else DeliveryOutcome.ACKED
        return after, DeliveryOutcome.REFUSED if forged and status == _UNAUTHORIZED else None

    def _post(
        self, connections: urllib3.PoolManager, headers: Mapping[str, str], body: bytes
    ) -> tuple[int | None, bytes]:
        try:
            answer = connections.request(
                "POST",
                self._url,
                body=body,
                headers={**headers, "Accept-Encoding": SKIP_HEADER},
                timeout=self._policy.timeout_s,
                redirect=False,
            )
        except urllib3.exceptions.HTTPError:
            return None, b""
        return answer.status, answer.data


class _Run:
    """The shared state of one play: the queue of what is due, and the ledger."""

    def __init__(
        self,
        policy: PlayerPolicy,
        deliveries: Iterable[Delivery],
        stop: threading.Event,
        on_progress: Callable[[Counts], None] | None,
    ) -> None:
        self._ladder_s = [wait_s * policy.ladder_scale for wait_s in policy.retry_ladder_s]
        self._stop = stop
        self._on_progress = on_progress
        self._changed = threading.Condition()
        self._aborted = False
        self._in_flight = 0
        self._started = time.monotonic()
        # The number breaks ties, so that equal times keep the schedule's order and deliveries are never compared.
        self._due = [(d.at_s, number, DeliveryRecord(d)) for number, d in enumerate(deliveries)]
        self._number = len(self._due)
        self._ledger = Ledger(planned=len(self._due))
        heapq.heapify(self._due)

    def take(self) -> DeliveryRecord | None:
        """Wait for the next due delivery and count its attempt; None when all are settled or it was stopped."""
        with self._changed:
            while not (self._aborted or self._stop.is_set()):
                if not self._due:
                    if not self._in_flight:
                        self._changed.notify_all()
                        return None
                    self._changed.wait(_POLL_S)
                    continue
                late_s = time.monotonic() - self._started - self._due[0][0]
                if late_s >= 0:
                    return self._begin(heapq.heappop(self._due)[2], late_s)
                self._changed.wait(min(-late_s, _POLL_S))
            return None

    def _begin(self, pending: DeliveryRecord, late_s: float) -> DeliveryRecord:
        self._in_flight += 1
        first = pending.attempts == 0
        self._ledger.note_attempt(first=first)
        return replace(
            pending,
            attempts=pending.attempts + 1,
            started_late_s=late_s if first else pending.started_late_s,
        )

    def settle(self, pending: DeliveryRecord, outcome: DeliveryOutcome | None) -> None:
        """Record an attempt's end: final, or to be tried again after the ladder's next wait."""
        with self._changed:
            self._in_flight -= 1
            if outcome is None and pending.attempts <= len(self._ladder_s):
                at_s = time.monotonic() - self._started + self._ladder_s[pending.attempts - 1]
                heapq.heappush(self._due, (at_s, self._number, pending))
                self._number += 1
            else:
                self._ledger.note(replace(pending, outcome=outcome or DeliveryOutcome.FAILED))
            if self._on_progress is not None:
                self._on_progress(self._ledger.counts())
            self._changed.notify()

    def abort(self) -> None:
        """Make every thread return after its current attempt."""
        with self._changed:
            self._aborted = True
            self._changed.notify_all()

    def close(self) -> Ledger:
        """Record what is left as unfinished and return the ledger."""
        for _, _, pending in sorted(self._due):
            self._ledger.note(pending)
        self._ledger.duration_s = time.monotonic() - self._started
        return self._ledger
