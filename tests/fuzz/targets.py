"""The laws, as functions of what is sent. Each raises for the first thing that is wrong.

``request``: whatever is posted, the real application decides it, with an answer of the closed list.
``signed``: a text whose ``event_hash`` is right is taken or refused with 400, and what is taken goes through
everything behind ingress (broker message, inbox, identity, order, commit, action) without an exception.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any, Final

from werkzeug.test import TestResponse

from deedbox.ingress.app import create_app
from deedbox.ingress.receive.ladder import ACK
from deedbox.shared import codec
from deedbox.shared.broker.message import encode_kombu
from deedbox.shared.core.attempts import QueueEntry
from deedbox.shared.core.envelope import Envelope, decode_inbox
from deedbox.shared.core.identity import is_file_safe
from deedbox.shared.core.ordering import OrderingPolicy, SequenceState, pass_through, step
from deedbox.shared.core.reasons import Refusal
from deedbox.shared.core.signature import event_hash
from deedbox.shared.core.status import advance
from deedbox.shared.records import order_state, queue_entry
from deedbox.shared.records.stored_event import StoredEvent
from deedbox.shared.redis.inbox import Load, stream_of
from deedbox.workers.actions.registry import CLEAN_STREAM_KEEP
from deedbox.workers.lanes.claims import event_of
from deedbox.workers.sequencer.arrivals import Delivered, StreamWork, delivered
from deedbox.workers.sequencer.releases import StreamSection, add_arrivals, add_releases
from tests.unit.ingress.wire import KEY, MULTIPART, RememberingBroker, multipart, settings

BROKER: Final = RememberingBroker()
APP: Final = create_app(settings(DEEDBOX_BODY_MAX_BYTES="1048576"), BROKER)
ALLOWED: Final = frozenset({200, 400, 401, 413})
ARRIVED_AT: Final = 1_800_000_000.5


def request(body: bytes, content_type: str | None = MULTIPART, signature: str | None = None) -> TestResponse:
    """Post anything; check that the answer is a decision."""
    named = (("Content-Type", content_type), ("Content-Sha256", signature))
    headers = [(name, value) for name, value in named if value is not None]
    BROKER.published.clear()
    answer = APP.test_client().post("/callbacks", data=body, headers=headers)
    assert answer.status_code in ALLOWED, answer.status_code
    if answer.status_code == 200:
        assert answer.data == ACK
        assert len(BROKER.published) == 1
        return answer
    assert not BROKER.published
    assert answer.json is not None
    assert answer.json["error"] in set(Refusal) - {Refusal.INTERNAL_ERROR}
    assert "\n" not in answer.json["detail"]
    return answer


def signed(document: Any) -> bool:
    """Sign a callback and post it. Returns whether it was taken; if so, everything behind was checked."""
    return signed_text(json.dumps(sign(document)).encode())


def sign(document: Any) -> Any:
    """Give a document with an event the right hash, as far as it has a type and a time."""
    event = document.get("event") if isinstance(document, dict) else None
    if not isinstance(event, dict):
        return document
    kind, at = event.get("event_type"), event.get("event_time")
    if not isinstance(kind, str) or isinstance(at, bool) or not isinstance(at, str | int):
        return document
    try:
        right = event_hash(KEY, str(at), kind)
    except (UnicodeEncodeError, ValueError):  # half characters; an integer too long to write
        return document
    return {**document, "event": {**event, "event_hash": right}}


def signed_text(text: bytes) -> bool:
    """Post a text that may be signed; check whatever is taken."""
    answer = request(multipart(text))
    if answer.status_code != 200:
        return False
    [envelope] = BROKER.published
    assert codec.body_of(envelope) == text
    process(envelope)
    return True


def process(envelope: Envelope) -> None:
    """Take a callback from the broker to an action, without any server."""
    load = Load()
    load.add_message(encode_kombu(envelope.headers(), envelope.body))
    assert not load.quarantined
    [(_, packed)] = load.entries
    appended_at, unpacked = decode_inbox(f"{ARRIVED_AT:.6f}\n".encode() + packed)
    assert unpacked == replace(envelope, key="")  # who reads the inbox parses the body anyway
    each = delivered(unpacked, appended_at)
    assert stream_of(encode_kombu(envelope.headers(), envelope.body)) == each.fact.stream
    assert each.fact == delivered(unpacked, appended_at + 1).fact
    _ordered(each)
    stored = StoredEvent.load(each.fact.fingerprint, _hash(each.stored))
    assert isinstance(stored, StoredEvent)
    assert stored == each.stored
    event = event_of(stored, late=False)
    assert event
    assert is_file_safe(each.stored.source)
    json.dumps(advance({}, event.type, event.time, event.payload))
    entry = QueueEntry(stored.fingerprint, ARRIVED_AT)
    assert queue_entry.load(queue_entry.dump(entry)) == entry


def _ordered(each: Delivered) -> None:
    """Step the order with the event, with its repeat, and when every hold is over."""
    work = StreamWork(ordered=each.fact.key.ordered, delivered=[each])
    arrivals = [(each.arrival, ARRIVED_AT)] * 2
    if not work.ordered:
        decision = pass_through(arrivals, ())
    else:
        decision = step(SequenceState(), arrivals, ARRIVED_AT, OrderingPolicy())
        kept = order_state.load(order_state.dump(decision.state))
        assert isinstance(kept, SequenceState)
        assert kept == decision.state
        later = step(kept, [], ARRIVED_AT + 10_000, OrderingPolicy())
        assert len(decision.release) + len(later.release) == 1
        assert later.wake_at is None
    assert len(decision.duplicates) == 1
    section = StreamSection(each.fact.stream, b"", decision.wake_at, ARRIVED_AT, CLEAN_STREAM_KEEP)
    each.name_body()
    add_arrivals(section, work, [each, each], decision)
    add_releases(section, work, decision, ARRIVED_AT)
    _check(each.fact.stream, section)


def _check(stream: str, section: StreamSection) -> None:
    """Check that a Redis client can send the operands, and that names stay printable and bounded."""
    for operand in section.operands():
        if isinstance(operand, str):
            operand.encode()
        else:
            assert isinstance(operand, bytes) or math.isfinite(operand)
    assert stream.isascii()
    assert stream.isprintable()
    assert len(stream) < 600
    assert "/" not in stream.partition("/")[2]


def _hash(stored: StoredEvent) -> dict[bytes, bytes]:
    """Write the fields as a Redis hash would give them back."""
    values = [value.encode() if isinstance(value, str) else value for value in stored.fields()]
    return dict(zip(values[::2], values[1::2], strict=True))
