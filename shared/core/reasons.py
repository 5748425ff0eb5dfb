"""The closed lists: why something was refused, why something died, what happened to a callback.

A reason's slug is the ``error`` of an HTTP answer, the log field, the metric label, the dead-letter column
and the heading in ``deploy/runbook.md``; a test keeps the runbook complete. ``docs/reasons.md`` is made from these docstrings.
"""

from __future__ import annotations

from enum import StrEnum


class Refusal(StrEnum):
    """Why ingress did not acknowledge a request."""

    BODY_TOO_LARGE = "body_too_large"
    """The body is larger than ``DEEDBOX_BODY_MAX_BYTES``."""
    METHOD_NOT_ALLOWED = "method_not_allowed"
    """The request was not a POST."""
    NOT_FOUND = "not_found"
    """Deedbox does not serve this path."""
    UNKNOWN_SOURCE = "unknown_source"
    """The URL names a source that is not defined."""
    BAD_MULTIPART = "bad_multipart"
    """The request was cut off, or is not a form."""
    MISSING_JSON_FIELD = "missing_json_field"
    """The form has no field ``json``."""
    BAD_JSON = "bad_json"
    """The field ``json`` is not a JSON object, or does not look like a callback."""
    BAD_FIELD = "bad_field"
    """A field that identity or verification needs is missing or has the wrong type."""
    BAD_EVENT_HASH = "bad_event_hash"
    """The signature matches no key of the source."""
    BAD_BODY_SIGNATURE = "bad_body_signature"
    """The settings demand a right ``Content-Sha256``, and it is wrong or absent."""
    BROKER_UNAVAILABLE = "broker_unavailable"
    """The broker did not confirm in time, and the spool is off."""
    SPOOL_FULL = "spool_full"
    """The broker does not accept callbacks, and the spool has no room."""
    SPOOL_UNWRITABLE = "spool_unwritable"
    """The broker does not accept callbacks, and the spool cannot be written."""
    INTERNAL_ERROR = "internal_error"
    """A bug in Deedbox."""


class DeathReason(StrEnum):
    """Why a message or an (event, action) pair was set aside for a person."""

    UNDECODABLE = "undecodable"
    """The broker held a message that this version cannot read."""
    KEY_MISSING = "key_missing"
    """A stored body is encrypted under a key that is not in ``DEEDBOX_ENCRYPTION_KEYS``."""
    TOO_OLD = "too_old"
    """The event was older than ``DEEDBOX_MAX_EVENT_AGE_S`` when it was received."""
    UNSIGNED = "unsigned"
    """``Content-Sha256`` is missing or wrong, and recent callbacks of the source had a valid one."""
    REJECTED = "rejected"
    """An action raised ``Reject``; the detail is its reason."""
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    """The action failed in every attempt; the letter has the last traceback."""
    RETRY_EXPIRED = "retry_expired"
    """The action raised ``Retry`` for longer than its ``give_up_s``."""
    EVENT_MISSING = "event_missing"
    """The stored event was gone or unreadable when the action was due to run."""
    WORKER_LOST = "worker_lost"
    """Eight times in a row the process of this call ended without an outcome."""
    BROKER_REFUSED = "broker_refused"
    """The broker refused this callback from the spool again and again, while it accepted others."""
    SPOOL_DAMAGED = "spool_damaged"
    """The disk of a spool lost data that it had confirmed."""
    UNDELIVERABLE = "undeliverable"
    """RabbitMQ or SQS delivered a message 20 times without an acknowledgement."""
    STATE_UNREADABLE = "state_unreadable"
    """The stored order of the request cannot be read."""
    FLOODED = "flooded"
    """More callbacks of one type and second came, without a valid body signature, than are kept."""
    ACTION_GONE = "action_gone"
    """No module declares the action any more, and an operator ended its calls."""


class ArrivalVerdict(StrEnum):
    """What the sequencer made of one delivered callback."""

    RELEASED = "released"
    HELD = "held"
    LATE = "late"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    TOO_OLD = "too_old"
    UNSIGNED = "unsigned"


class TimelineKind(StrEnum):
    """Kinds of entries in the timeline of an ordering key (``deedbox trace``)."""

    ARRIVED = "arrived"
    HELD = "held"
    RELEASED = "released"
    LATE = "late"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    ACTION = "action"
    RETRY = "retry"
    DEAD = "dead"
    DOCUMENT = "document"
    RECONCILED = "reconciled"
    NOTE = "note"
