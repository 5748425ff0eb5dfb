"""The closed lists: why something was refused, why something died, what happened to a callback.

A reason's slug is the ``error`` of an HTTP answer, the log field, the metric label, the dead-letter column
and the heading in ``deploy/runbook.md``; a test keeps the runbook complete.
"""

from __future__ import annotations

from enum import StrEnum


class Refusal(StrEnum):
    """Why ingress did not acknowledge a request."""

    BODY_TOO_LARGE = "body_too_large"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    NOT_FOUND = "not_found"
    UNKNOWN_SOURCE = "unknown_source"
    BAD_MULTIPART = "bad_multipart"
    MISSING_JSON_FIELD = "missing_json_field"
    BAD_JSON = "bad_json"
    BAD_FIELD = "bad_field"
    BAD_EVENT_HASH = "bad_event_hash"
    BAD_BODY_SIGNATURE = "bad_body_signature"
    BROKER_UNAVAILABLE = "broker_unavailable"
    SPOOL_FULL = "spool_full"
    SPOOL_UNWRITABLE = "spool_unwritable"
    INTERNAL_ERROR = "internal_error"


class DeathReason(StrEnum):
    """Why a message or an (event, action) pair was set aside for a person."""

    UNDECODABLE = "undecodable"
    TOO_OLD = "too_old"
    REJECTED = "rejected"
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    RETRY_EXPIRED = "retry_expired"
    EVENT_MISSING = "event_missing"
    WORKER_LOST = "worker_lost"
    BROKER_REFUSED = "broker_refused"
    SPOOL_DAMAGED = "spool_damaged"
    UNDELIVERABLE = "undeliverable"
    STATE_UNREADABLE = "state_unreadable"
    ACTION_GONE = "action_gone"


class ArrivalVerdict(StrEnum):
    """What the sequencer made of one delivered callback."""

    RELEASED = "released"
    HELD = "held"
    LATE = "late"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    TOO_OLD = "too_old"


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
