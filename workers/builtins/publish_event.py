"""Built-in action ``publish_event``: hands every event on to a kombu topic exchange, for other services.

Verified, deduplicated, in release order per ordering key, at least once. The routing key is the event type. The body
is JSON; its form is versioned and only ever gains fields within a version. While the broker is away the head of each
key's queue waits, and with it the events behind: order is kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from deedbox.shared.broker.errors import RefusedForCause
from deedbox.shared.broker.port import TopicMessage, Topics
from deedbox.shared.core.attempts import AttemptPolicy
from deedbox.shared.core.errors import Unavailable
from deedbox.shared.redis.keys import FANOUT
from deedbox.shared.retention import DAY_S
from deedbox.shared.webhook_message import json_of
from deedbox.workers.actions.interface import ActionFunction, Context, Event, Reject, Retry
from deedbox.workers.actions.registry import RegisteredAction

NAME: Final = "publish_event"

SCHEMA_VERSION: Final = 1

PATIENCE_S: Final = 6.0 * DAY_S
"""How long a broker may be away before its events become dead letters; events are kept for 7 days at least."""

AWAY_FIRST_S: Final = 1.0
AWAY_LONGEST_S: Final = 15.0
"""A broker that is away is asked again after 1 s, doubling to 15 s: soon enough after it is back."""

TIMEOUT_S: Final = 30.0
"""A publish is bounded to 2 s; this is for what is not foreseen."""


class PublishEvent:
    """The action; one per process."""

    def __init__(
        self, bus: Topics, *, with_payload: bool = True, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._bus = bus
        self._with_payload = with_payload
        self._monotonic = monotonic
        self._away_until = float("-inf")
        self._why = ""

    def __call__(self, event: Event, context: Context) -> None:
        """Publish, or ask to be called when the broker may be back."""
        # Thousands of keys may wait for the same broker: one of them finds out for all.
        if (left_s := self._away_until - self._monotonic()) > 0:
            raise Retry(self._why, after=left_s)
        try:
            self._bus.publish(message_of(event, context, with_payload=self._with_payload))
        except RefusedForCause as error:
            raise Reject(str(error)) from None
        except Unavailable as error:
            pause_s = min(AWAY_LONGEST_S, AWAY_FIRST_S * 2 ** min(context.retries, 10))
            self._away_until = self._monotonic() + pause_s
            self._why = str(error)
            raise Retry(self._why, after=pause_s) from None


def message_of(event: Event, context: Context, *, with_payload: bool = True) -> TopicMessage:
    """Return the message of an event; the same event gives the same body, however often it is published."""
    facts = facts_of(event, context)
    headers = {name: _sendable(value) for name, value in facts.items() if value is not None}
    if context.traceparent:
        headers["traceparent"] = context.traceparent
    if with_payload:
        facts["payload"] = event.payload
    return TopicMessage(event.type, context.idempotency_key, headers, json_of(facts))


def facts_of(event: Event, context: Context) -> dict[str, Any]:
    """Return what other services are told of an event besides its payload. Fields are only ever added."""
    return {
        "schema_version": SCHEMA_VERSION,
        "idempotency_key": context.idempotency_key,
        "type": event.type,
        "time": event.time,
        "received_at": event.received_at,
        "source": event.source,
        "ordering_key": event.ordering_key,
        "signature_request_id": event.signature_request_id,
        "related_signature_id": event.related_signature_id,
        "test_mode": event.test_mode,
        "late": event.late,
        "replay": context.replay,
        "body_signature": event.body_signature,
        "trust": event.trust,
        "origin": event.origin,
        "trace_id": context.trace_id,
    }


def _sendable(value: Any) -> Any:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def registered(function: ActionFunction) -> RegisteredAction:
    """Return the action for the registry: every event, internal ones too, in order, in a separate lane.

    Its own, because a broker that does not answer takes seconds of a process, which no other action may pay for.
    """
    policy = AttemptPolicy(give_up_s=PATIENCE_S)
    return RegisteredAction(NAME, ("*", "deedbox.*"), function, FANOUT, TIMEOUT_S, policy=policy)
