"""The receiver's ladder: what becomes of one request, decided from its bytes and headers alone.

No framework, clock or I/O in here: the Flask view and any other front call the same function, so there is one
copy of every rule. Each rung refuses at once; what passes the last one was sent by a holder of an API key.
Details name the field and the remedy and never quote what was sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, Literal

from deedbox.ingress.receive.form import FORM_TYPES, BadForm, json_texts, media_type
from deedbox.shared import codec
from deedbox.shared.core.callback import DEPTH_MAX, ParsedCallback, is_too_deep, parse_callback
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.errors import BadCallback
from deedbox.shared.core.identity import ordering_key
from deedbox.shared.core.reasons import Refusal
from deedbox.shared.core.signature import BodySignature, verify_body, verify_event_hash
from deedbox.shared.sealing.envelopes import sealed

ACK: Final = b"Hello API Event Received"
"""What the vendor wants to read, to the byte: no newline, no full stop."""

INTERNAL: Final = "deedbox."
"""How the types of Deedbox's own events begin: they reach actions that trust them."""

AHEAD_MAX_S: Final = 86_400
"""How far (seconds) an event may be ahead of the clock. One that is far ahead would make every later one of its request
late."""

HOW_TO_SEND: Final = "send the callback as multipart/form-data with the text field json"

STATUS: Final[Mapping[Refusal, HTTPStatus]] = {
    Refusal.BODY_TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Refusal.METHOD_NOT_ALLOWED: HTTPStatus.METHOD_NOT_ALLOWED,
    Refusal.NOT_FOUND: HTTPStatus.NOT_FOUND,
    Refusal.UNKNOWN_SOURCE: HTTPStatus.NOT_FOUND,
    Refusal.BAD_MULTIPART: HTTPStatus.BAD_REQUEST,
    Refusal.MISSING_JSON_FIELD: HTTPStatus.BAD_REQUEST,
    Refusal.BAD_JSON: HTTPStatus.BAD_REQUEST,
    Refusal.BAD_FIELD: HTTPStatus.BAD_REQUEST,
    Refusal.BAD_EVENT_HASH: HTTPStatus.UNAUTHORIZED,
    Refusal.BAD_BODY_SIGNATURE: HTTPStatus.UNAUTHORIZED,
    Refusal.BROKER_UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    Refusal.SPOOL_FULL: HTTPStatus.SERVICE_UNAVAILABLE,
    Refusal.SPOOL_UNWRITABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    Refusal.INTERNAL_ERROR: HTTPStatus.INTERNAL_SERVER_ERROR,
}
"""The answer's status for every reason, in one table."""

VERIFIED: Final = frozenset(
    {Refusal.BAD_BODY_SIGNATURE, Refusal.BROKER_UNAVAILABLE, Refusal.SPOOL_FULL, Refusal.SPOOL_UNWRITABLE}
)
"""Refusals of callbacks whose ``event_hash`` fits: a holder of a key, or of a hash, sent them."""


@dataclass(frozen=True, slots=True)
class LadderPolicy:
    """What the ladder accepts."""

    key_rings: Mapping[str, tuple[str, ...]] = field(repr=False)
    """Source name to API keys; any of them may have signed."""
    body_max_bytes: int
    body_signature: Literal["auto", "record", "check", "require"] = "auto"
    """``Content-Sha256``: record the verdict (``auto``: the workers decide on it), refuse a wrong one, or refuse an absent
    one too."""


@dataclass(frozen=True, slots=True)
class Received:
    """One request as any front can describe it."""

    source: str
    method: str
    content_type: str | None
    content_sha256: str | None
    body: bytes | None
    """None: larger than the policy allows, and therefore not read to its end."""
    received_at: float
    """Unix seconds."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A callback that may be published: an ``Envelope`` but for the time and the trace id."""

    source: str
    event_type: str
    body_signature: BodySignature
    json_text: bytes = field(repr=False)
    """The received bytes of the ``json`` text, exactly."""
    key: str = ""
    """The ordering key, so that the bridge need not parse the text again."""

    def envelope(self, received_at: float, trace_id: str) -> Envelope:
        """Return what to publish. ``received_at``: unix seconds; ``trace_id``: 32 hexadecimal characters."""
        name, data = codec.encode(self.json_text)
        envelope = Envelope(
            source=self.source,
            received_at=received_at,
            body_signature=self.body_signature,
            trace_id=trace_id,
            body=data,
            codec=name,
            key=self.key,
        )
        return sealed(envelope)


@dataclass(frozen=True, slots=True)
class RefusedCallback:
    """An answer other than the ack."""

    reason: Refusal
    detail: str
    """One line for the sender; never a part of what was sent."""
    event_type: str | None = None
    """The claimed type, once the callback could be parsed."""
    body_signature: BodySignature | None = None
    """The verdict on ``Content-Sha256``, once it was reached."""
    cause: str | None = None
    """For the log only: what exactly failed on our side."""

    @property
    def status(self) -> HTTPStatus:
        """The HTTP status of the answer."""
        return STATUS[self.reason]


def judge(request: Received, policy: LadderPolicy) -> Accepted | RefusedCallback:
    """Decide one request. Never raises for anything that was sent."""
    key_ring = policy.key_rings.get(request.source)
    if not key_ring:
        return RefusedCallback(Refusal.UNKNOWN_SOURCE, "no source of this name; see DEEDBOX_SOURCES")
    if request.method != "POST":
        return RefusedCallback(Refusal.METHOD_NOT_ALLOWED, "callbacks are sent with POST")
    if request.body is None or len(request.body) > policy.body_max_bytes:
        return RefusedCallback(
            Refusal.BODY_TOO_LARGE,
            f"the body is larger than {policy.body_max_bytes} bytes (DEEDBOX_BODY_MAX_BYTES)",
        )
    json_text = _json_text(request.content_type, request.body)
    if isinstance(json_text, RefusedCallback):
        return json_text
    try:
        callback = parse_callback(json_text)
    except BadCallback as error:
        return RefusedCallback(Refusal.BAD_JSON if error.field is None else Refusal.BAD_FIELD, error.detail)
    return _verified(request, policy, key_ring, callback, json_text)


def _json_text(content_type: str | None, body: bytes) -> bytes | RefusedCallback:
    """Return the received bytes of the ``json`` text."""
    kind = media_type(content_type)
    if kind == "application/json":  # not seen from the vendor; what a person testing with curl sends
        return body
    if kind not in FORM_TYPES:
        return RefusedCallback(
            Refusal.MISSING_JSON_FIELD, f"no form field json in this content type; {HOW_TO_SEND}"
        )
    try:
        found = json_texts(content_type or "", body)
    except BadForm as error:
        return RefusedCallback(Refusal.BAD_MULTIPART, f"{error}; {HOW_TO_SEND}")
    if not found:
        return RefusedCallback(Refusal.MISSING_JSON_FIELD, f"the form has no field json; {HOW_TO_SEND}")
    if len(found) > 1:  # two texts, one signature: which one it vouches for is anyone's guess
        return RefusedCallback(Refusal.BAD_FIELD, "the field json appears more than once")
    return found[0]


def _verified(
    request: Received,
    policy: LadderPolicy,
    key_ring: tuple[str, ...],
    callback: ParsedCallback,
    json_text: bytes,
) -> Accepted | RefusedCallback:
    event_type = callback.event_type
    if not verify_event_hash(key_ring, callback.event_time_text, event_type, callback.event_hash):
        return RefusedCallback(
            Refusal.BAD_EVENT_HASH,
            "event.event_hash fits none of this source's API keys",
            event_type=event_type,
        )
    if (named := _unusual(callback, request.received_at)) is not None:
        return RefusedCallback(Refusal.BAD_FIELD, named, event_type=event_type)
    # Only now: it may read the whole body, which a sender without a key must not cause.
    if is_too_deep(json_text, callback.payload):
        return RefusedCallback(
            Refusal.BAD_JSON,
            f"the json text is nested more deeply than {DEPTH_MAX} levels",
            event_type=event_type,
        )
    verdict = verify_body(key_ring, json_text, request.content_sha256)
    wrong = verdict is BodySignature.WRONG and policy.body_signature in {"check", "require"}
    absent = verdict is BodySignature.ABSENT and policy.body_signature == "require"
    if wrong or absent:
        return RefusedCallback(
            Refusal.BAD_BODY_SIGNATURE,
            "the header Content-Sha256 is missing"
            if absent
            else "the header Content-Sha256 does not fit the body",
            event_type=event_type,
            body_signature=verdict,
        )
    return Accepted(request.source, event_type, verdict, json_text, str(ordering_key(callback)))


def _unusual(callback: ParsedCallback, received_at: float) -> str | None:
    """Say what no event of Dropbox Sign has, though its hash fits; None if there is nothing.

    A hash signs time and type without a separator: the digits at the end of a time may be passed off as the beginning of a
    type.
    """
    if callback.event_type.startswith(INTERNAL):
        return f"the field event.event_type begins with {INTERNAL}, which only Deedbox's own events do"
    if callback.event_type[0].isdigit():
        return "the field event.event_type begins with a digit, which no type of Dropbox Sign does"
    if callback.event_time > received_at + AHEAD_MAX_S:
        return "the field event.event_time is more than a day ahead of this host's clock; check the clock"
    return None
