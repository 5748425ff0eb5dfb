"""Built-in actions ``deliver.<name>``: send clean events to an HTTP receiver, signed as Standard Webhooks demands.

Each destination is an action, so it has what actions have: order per request, retries, dead letters, redrive, replay,
lines in ``trace``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from deedbox.shared import webhook_message
from deedbox.shared.core.attempts import AttemptPolicy
from deedbox.shared.core.errors import Unavailable
from deedbox.shared.core.routing import DELIVERING
from deedbox.shared.destinations import Destination
from deedbox.workers.actions.interface import ActionFunction, Context, Event, Reject, Retry
from deedbox.workers.actions.registry import RegisteredAction
from deedbox.workers.builtins.outgoing import Poster, PrivateAddress
from deedbox.workers.builtins.publish_event import PATIENCE_S, facts_of
from deedbox.workers.dropbox_sign.client import retry_after

TIMEOUT_S: Final = 30.0
"""Connect and answer are bounded to 20 s; this is for a name server that does not answer."""

ATTEMPTS: Final = 15
"""Of an event that the receiver refuses (4xx): with backoff about an hour, enough for a deployment to be put right."""

AWAY_FIRST_S: Final = 1.0
AWAY_LONGEST_S: Final = 60.0
"""A receiver that is away is asked again after 1 s, doubling to 60 s: soon enough after it is back."""

RETRY_AFTER_MAX_S: Final = 3600.0

_GONE: Final = 410
_BUSY: Final = frozenset({408, 425, 429})
"""4xx that speak of the moment, not of the event."""


class NotAccepted(Exception):
    """The receiver answered that it does not accept this event."""


class Deliver:
    """The action of one destination; one per process."""

    def __init__(
        self,
        destination: Destination,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._destination = destination
        self._poster = Poster(destination.url, allow_private=destination.allow_private)
        self._clock = clock
        self._monotonic = monotonic
        self._away_until = float("-inf")
        self._failures = 0
        self._why = ""

    def __call__(self, event: Event, context: Context) -> None:
        """Send; return once the receiver has answered 2xx. Raises Retry, Reject or NotAccepted."""
        # Thousands of requests may wait for one receiver: one of them finds out for all.
        if (left_s := self._away_until - self._monotonic()) > 0:
            raise Retry(self._why, after=left_s)
        data = facts_of(event, context)
        if self._destination.payload:
            data["payload"] = event.payload
        # The same bytes at every attempt.
        body = webhook_message.body_of(event.type, event.time, data)
        now = self._clock()
        headers = webhook_message.headers_of(
            self._destination.secret, context.idempotency_key, int(now), body
        )
        if context.traceparent:
            headers["traceparent"] = context.traceparent
        try:
            answered = self._poster.post(body, headers)
        except PrivateAddress as error:
            raise self._away(
                f'{error} is an address inside; if it is meant, set "allow_private": true', AWAY_LONGEST_S
            ) from None
        except Unavailable as error:
            raise self._away(str(error)) from None
        status = answered.status
        if 200 <= status < 300:  # noqa: PLR2004 - the classes of HTTP
            self._failures = 0
            return
        if status == _GONE:
            raise Reject("the destination answered 410: it wants no more events")
        told = f"the destination answered {status}"
        if status >= 500 or status in _BUSY:  # noqa: PLR2004
            raise self._away(told, retry_after(answered.retry_after, now))
        raise NotAccepted(told)

    def _away(self, why: str, until: float | None = None) -> Retry:
        """Leave the receiver alone for a while, and return what puts this call off until then."""
        self._failures += 1
        pause_s = min(AWAY_LONGEST_S, AWAY_FIRST_S * 2 ** min(self._failures - 1, 10))
        if until is not None:
            pause_s = min(max(pause_s, until - self._clock()), RETRY_AFTER_MAX_S)
        self._away_until, self._why = self._monotonic() + pause_s, why
        return Retry(why, after=pause_s)


def registered(destination: Destination, function: ActionFunction) -> RegisteredAction:
    """Return the action of a destination for the registry."""
    policy = AttemptPolicy(attempts=ATTEMPTS, give_up_s=PATIENCE_S)
    return RegisteredAction(
        DELIVERING + destination.name, destination.types, function, destination.lane, TIMEOUT_S, policy=policy,
        rate=destination.rate, concurrency=destination.concurrency, where=destination.where,
    )  # fmt: skip
