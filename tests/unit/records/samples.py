"""One fixed value of each sent and stored form, with what writes and what reads it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from deedbox.ops.readmodels.events import Cursor
from deedbox.ops.repair.deadletters import FIELDS, DeadLetter
from deedbox.shared import pauses
from deedbox.shared.alerts.alerting import AlertState, Group
from deedbox.shared.alerts.conditions import AlertWatch
from deedbox.shared.archives.stream_archive import ArchivedEvent, StreamArchive
from deedbox.shared.audit import AuditedOperation, AuditLine, Way, audit_line
from deedbox.shared.broker.message import decode_kombu, encode_kombu
from deedbox.shared.core.attempts import QueueEntry
from deedbox.shared.core.envelope import SCHEMA_VERSION, Envelope
from deedbox.shared.core.fields import Unreadable
from deedbox.shared.core.ordering import Arrival, Held, Position, Proof, SequenceState
from deedbox.shared.core.routing import PauseKind
from deedbox.shared.core.signature import BodySignature, Origin
from deedbox.shared.pauses import Pause, PauseTarget
from deedbox.shared.records import (
    order_state,
    presence,
    queue_entry,
    read_model,
    replay_order,
    sample,
    spool_mark,
    subscriptions,
    timeline_line,
)
from deedbox.shared.records.alert_board import AlertBoard
from deedbox.shared.records.clean_entry import CleanEntry
from deedbox.shared.records.document_record import DocumentRecord, StoreMark
from deedbox.shared.records.intake_report import IntakeReport, SourceReport
from deedbox.shared.records.presence import LostCall, Presence, Restart
from deedbox.shared.records.replay_order import ReplayOrder, ReplaySpan
from deedbox.shared.records.stored_event import StoredEvent
from deedbox.shared.records.subscriptions import Subscription, Subscriptions
from deedbox.shared.records.tombstone import Tombstone
from tests.support.stored import in_pieces
from tests.unit.records.forms import inbox_entry, lost_call

RECORDED: Final = Path(__file__).with_name("recorded") / str(SCHEMA_VERSION)

AT: Final = 1_800_000_000.25
PRINT: Final = "0123456789abcdef" * 2
KEY: Final = "signature_request/" + "ab" * 20
BODY: Final = b'{"event":{"event_type":"signature_request_sent","event_time":"1800000000","event_hash":"00"}}'
ENVELOPE: Final = Envelope(
    "default",
    AT,
    BodySignature.VALID,
    "0a" * 16,
    BODY,
    redrive="letter-7",
    codec="",
    span_id="0123456789abcdef",
    shard=3,
)
STORED: Final = StoredEvent(
    PRINT, "default", KEY, "signature_request_sent", 1_800_000_000, "s1", AT, AT + 1, BodySignature.ABSENT, "0a" * 16,
    "ff" * 16, BODY, "", "0123456789abcdef",
)  # fmt: skip
LETTER: Final = DeadLetter(
    "7", AT, "attempts_exhausted", "ValueError: no", "default", KEY, "signature_request_sent", "crm", "default",
    f"crm|default:{KEY}", queue_entry.dump(QueueEntry(PRINT, AT)), PRINT, "0a" * 16,
)  # fmt: skip
PROOF: Final = Proof("signature_request_sent", "", 1_800_000_000)


ARCHIVE: Final = StreamArchive(
    {PRINT.encode(): AT}, (b'{"at":1,"kind":"arrived"}',), {"order": b"[]", "request": b"{}"}, {b"ab": b"state"},
    {PRINT.encode(): ArchivedEvent({b"head": b"{}", b"codec": b"", b"body": BODY}, AT + 60)}, AT + 120,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sample:
    """One form: a value, its text, and its reader."""

    value: Any
    dump: Callable[[Any], bytes | str]
    load: Callable[[bytes], Any]

    def text(self) -> bytes:
        """Return the stored text."""
        found = self.dump(self.value)
        return found if isinstance(found, bytes) else found.encode()


def _fields(found: dict[str, Any]) -> bytes:
    return json.dumps(found, indent=1).encode()


def _hash(data: bytes) -> dict[bytes, bytes]:
    return {name.encode(): value.encode() for name, value in json.loads(data).items()}


def _event_fields(event: StoredEvent) -> bytes:
    return _fields({name: each.hex() for name, each in in_pieces(event).items()})


def _event(data: bytes) -> StoredEvent | Unreadable:
    pieces = {name.encode(): bytes.fromhex(each) for name, each in json.loads(data).items()}
    return StoredEvent.load(PRINT, pieces)


SAMPLES: Final[dict[str, Sample]] = {
    "broker_message": Sample(
        ENVELOPE,
        lambda each: encode_kombu(each.headers(), each.body),
        lambda data: Envelope.from_headers(*decode_kombu(data)),
    ),
    "broker_headers": Sample(
        ENVELOPE,
        lambda each: _fields(each.headers()),
        lambda data: Envelope.from_headers(json.loads(data), BODY),
    ),
    "inbox_entry": Sample(
        (AT, Envelope("default", AT, BodySignature.WRONG, "0a" * 16, BODY, "letter-7")),
        lambda pair: f"{pair[0]:.6f}\n".encode() + pair[1].pack(),
        inbox_entry,
    ),
    "inbox_entry_reconciled": Sample(
        (AT, Envelope("default", AT, BodySignature.ABSENT, "0a" * 16, BODY, origin=Origin.RECONCILED)),
        lambda pair: f"{pair[0]:.6f}\n".encode() + pair[1].pack(),
        inbox_entry,
    ),
    "order_state_reconciled": Sample(
        SequenceState(
            satisfied=frozenset({"signature_request_sent|"}),
            reconciled={"signature_request_sent|": 1_800_000_000},
        ),
        order_state.dump,
        order_state.load,
    ),
    "order_state": Sample(
        SequenceState(
            held=(Held(Arrival(Position(1_800_000_009, 3, "s1", PRINT), "signature_request_viewed", (PROOF,)), AT),),
            greatest=Position(1_800_000_001, 1, "", PRINT),
            satisfied=frozenset({"signature_request_signed|s1"}),
            wildcards={"signature_request_viewed": 1},
            given_up={"signature_request_sent|": 1_800_000_001},
        ),
        order_state.dump,
        order_state.load,
    ),
    "queue_entry": Sample(
        QueueEntry(PRINT, AT, True, 2, 3, 1, AT, 4, 5),
        queue_entry.dump,
        queue_entry.load,
    ),
    "dead_letter": Sample(
        LETTER,
        lambda each: _fields({name: str(value) for name, value in each.document().items()}),
        lambda data: DeadLetter.of_values([_hash(data).get(name.encode()) for name in FIELDS]),
    ),
    "stored_event": Sample(STORED, _event_fields, _event),
    "stored_event_reconciled": Sample(
        replace(STORED, origin=Origin.RECONCILED),
        _event_fields,
        _event,
    ),
    "timeline_line": Sample(
        [{"at": AT, "kind": "held", "event": PRINT}], lambda lines: timeline_line.dump(lines)[0], timeline_line.load
    ),
    "clean_entry": Sample(
        CleanEntry(9, f"default:{KEY}", PRINT, "signature_request_sent", 1_800_000_000, "s1", late=True),
        lambda each: _fields({"n": str(each.number), "event": each.dump().hex()}),
        lambda data: CleanEntry.load({b"n": _hash(data)[b"n"], b"event": bytes.fromhex(_hash(data)[b"event"].decode())}),
    ),
    "archive": Sample(ARCHIVE, lambda each: each.dump() or b"", StreamArchive.load),
    "cursor": Sample(Cursor(1_800_000_000_250, 3, 9), str, lambda data: Cursor.parse(data.decode())),
    "read_model": Sample(
        {
            "signature_request_id": "ab" * 20, "state": "viewed", "vouched": "viewed", "ready_to_sign": True, "complete": False, "closed": False,
            "updated_at": 1_800_000_000, "signers": {"s1": "viewed"}, "title": "Lease",
            "trust": {"state": "attested", "signers": "attested", "title": "confirmed"},
            "levels": {
                "attested": {
                    "states": {"viewed": [1_800_000_000, 3]}, "rows": {"s1": {"viewed": [1_800_000_000, 3]}}, "facts": {},
                    "changed_at": 1_800_000_000,
                },
                "confirmed": {
                    "states": {"unknown": [1_799_999_999, 9]}, "rows": {}, "facts": {"title": [1_799_999_999, 9, "Lease"]},
                    "changed_at": 1_799_999_999,
                },
            },
        },
        read_model.dump,
        read_model.load,
    ),
    "document_record": Sample(
        DocumentRecord([{"sha256": "00", "size": 5, "url": "file:///x", "trigger": "t", "fetched_at": AT, "store": "s"}], ["k"], False, ""),
        lambda each: each.dump(),
        DocumentRecord.load,
    ),
    "tombstone": Sample(Tombstone(AT, "operator"), lambda each: each.dump(), Tombstone.load),
    "subscriptions": Sample(
        Subscriptions((Subscription("crm", ("signature_request_*",), "default"),)),
        lambda each: each.dump().encode(),
        lambda data: subscriptions.load({b"actions": data}),
    ),
    "limited_subscriptions": Sample(
        Subscriptions((Subscription("crm", ("signature_request_*",), "default", True, (100, 60), 4),)),
        lambda each: each.dump().encode(),
        lambda data: subscriptions.load({b"actions": data}),
    ),
    "pause": Sample(
        Pause(PauseTarget(PauseKind.ACTION, "crm"), 3, AT, "operator", "the CRM is away"),
        lambda each: json.dumps({"n": each.number, "at": each.at, "by": each.by, "why": each.why}).encode(),
        lambda data: pauses.load("action|crm", data),
    ),
    "audit_line": Sample(
        AuditLine("anna", Way.API, AuditedOperation.DISCARD, 2, {"ids": ["7", "8"]}, AT),
        lambda each: f"{each.at:.3f} ".encode() + each.dump(),
        audit_line.load,
    ),
    "intake_report": Sample(
        IntakeReport(
            "web:1", AT, AT - 9, (1.0, 2.0), (3, 2, 1),
            {"default": SourceReport(3, 1, {"bad_json": 2}, AT, None, (AT,))}, {"not_found": 1},
        ),
        lambda each: each.dump(),
        lambda data: IntakeReport.load("web:1", data),
    ),
    "store_mark": Sample(
        StoreMark("5t", "work1", "/srv/documents", AT),
        lambda each: each.dump(),
        lambda data: StoreMark.load("5t", data),
    ),
    "presence": Sample(Presence("default", "crm", PRINT, 0.5), presence.dump, presence.load),
    "lost_call": Sample(
        LostCall(AT, "default", "crm", PRINT, "web-1:17", 2), lost_call, presence.load_lost
    ),
    "restart": Sample(
        Restart("web-1", "bridge", "exited with status 1", 3, AT, "/srv/bridge.log"),
        presence.dump_restart,
        presence.load_restart,
    ),
    "spool_mark": Sample(spool_mark.SpoolMark("web", 3, 900, 1 << 30, AT, AT + 1), spool_mark.dump, spool_mark.load),
    "sample": Sample(
        sample.Sample(AT, 10.0, {"inbox": 2, "dead": 0}, {"inbox": 1.5}, {"accepted": 3}, {"bad_json": 1}, (1.0, 2.0), (2, 1, 0)),
        lambda each: each.dump(),
        sample.Sample.load,
    ),
    "sample_totals": Sample(
        sample.SampleTotals(AT, {"released": 7}, {"web:1": sample.WebTotals(AT - 9, 3, 1, {"bad_json": 2}, (1.0, 2.0), (3, 2, 1))}),
        lambda each: each.dump(),
        sample.SampleTotals.load,
    ),
    "alert_board": Sample(
        AlertBoard(AlertState((Group("dead_letters", "default", AT, AT, 1, ("7",), {"x": 1}, ("k",)),), (AT,)), AlertWatch(7)),
        lambda each: each.dump(),
        AlertBoard.load,
    ),
    "replay_order": Sample(
        ReplayOrder(("crm",), ReplaySpan(AT), "default", KEY, "signature_request_*"),
        lambda each: each.dump(),
        ReplayOrder.load,
    ),
    "replay_mark": Sample(
        Position(1_800_000_001, 1, "s1", PRINT), replay_order.dump_mark, replay_order.load_mark
    ),
}  # fmt: skip
