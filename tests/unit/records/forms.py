"""Every form that is stored, and what becomes of a value that cannot be read. ``docs/wire.md`` has the same table.

No stored value may stop a process or a shard, even if another program wrote it: each ``load`` takes any bytes, and returns
``Unreadable`` instead of raising.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Final

from deedbox.shared import pauses
from deedbox.shared.archives import stream_archive
from deedbox.shared.audit import audit_line
from deedbox.shared.core import jsontext
from deedbox.shared.core.envelope import Envelope, decode_inbox
from deedbox.shared.core.errors import Undecodable
from deedbox.shared.core.fields import COUNT, Unreadable, count_of
from deedbox.shared.records import (
    alert_board,
    clean_entry,
    document_record,
    intake_report,
    order_state,
    presence,
    queue_entry,
    read_model,
    replay_order,
    sample,
    spool_mark,
    stored_event,
    subscriptions,
    timeline_line,
    tombstone,
)

INBOX_FORM: Final = "inbox entry"


@dataclass(frozen=True, slots=True)
class Form:
    """One stored form."""

    name: str
    where: str
    """Its key, as the keyspace table of ``deedbox.shared.redis.keys`` has it."""
    policy: str
    """What becomes of a value that cannot be read, as a sentence."""
    load: Callable[[bytes], object]


def lost_call(call: presence.LostCall) -> bytes:
    """Return what ``sweep.lua`` writes."""
    return jsontext.dumps(asdict(call))


def inbox_entry(data: bytes) -> tuple[float, Envelope] | Unreadable:
    """Read an entry of the inbox, as the sequencer does."""
    try:
        return decode_inbox(data)
    except Undecodable:
        return Unreadable(INBOX_FORM, len(data))


FORMS: Final = (
    Form(
        INBOX_FORM,
        "inbox:<shard>",
        "It becomes a dead letter `undecodable`, with its bytes; the shard continues.",
        inbox_entry,
    ),
    Form(
        order_state.FORM,
        "order:<stream>",
        "The stream is isolated: its held and new callbacks become dead letters `state_unreadable`.",
        order_state.load,
    ),
    Form(
        stored_event.FORM,
        "event:<fingerprint>",
        "Each of its calls becomes a dead letter `event_missing`; the queue continues.",
        lambda data: stored_event.StoredEvent.load("0" * 32, {stored_event.HEAD[0].encode(): data}),
    ),
    Form(
        queue_entry.FORM,
        "queue:<unit>",
        "It becomes a dead letter `event_missing`; the queue continues.",
        queue_entry.load,
    ),
    Form(
        presence.FORM,
        "workers:doing",
        "The process counts as dead; its next report, seconds later, replaces the value.",
        presence.load,
    ),
    Form(
        presence.LOST_FORM,
        "lost",
        "`status` leaves it out.",
        presence.load_lost,
    ),
    Form(
        presence.RESTART_FORM,
        "restarts",
        "`status` leaves it out; the next end of the process replaces it.",
        presence.load_restart,
    ),
    Form(
        timeline_line.FORM,
        "timeline:<stream>",
        "`trace` leaves the line out.",
        timeline_line.load,
    ),
    Form(
        read_model.FORM,
        "request:<stream>",
        "The next event, or an answer of the API, starts a new one.",
        read_model.load,
    ),
    Form(
        document_record.FORM,
        "document:<stream>",
        "It is ignored: the document is fetched once more, and stored under the same name.",
        document_record.DocumentRecord.load,
    ),
    Form(
        document_record.STORE_FORM,
        "stores",
        "It is ignored; the next document that is stored there writes it again.",
        lambda data: document_record.StoreMark.load("0" * 32, data),
    ),
    Form(
        tombstone.FORM,
        "erased:<stream>",
        "It still counts as a tombstone; its time is unknown.",
        tombstone.Tombstone.load,
    ),
    Form(
        stream_archive.FORM,
        "archive:<stream>",
        "It is moved away; what the stream was is forgotten, and its next callback begins anew.",
        stream_archive.StreamArchive.load,
    ),
    Form(
        clean_entry.FORM,
        "events",
        "Readers of the API skip it.",
        lambda data: clean_entry.CleanEntry.load(dict.fromkeys(clean_entry.NAMES, data)),
    ),
    Form(
        subscriptions.FORM,
        "subscriptions",
        "Nothing is released until a worker announces it again, within 10 s.",
        lambda data: subscriptions.load({b"actions": data}),
    ),
    Form(
        pauses.FORM,
        "paused",
        "What is named stays paused until it is resumed; since when, and by whom, is unknown.",
        lambda data: pauses.load("action|crm", data),
    ),
    Form(
        audit_line.FORM,
        "audit",
        "`deedbox audit` leaves the line out.",
        audit_line.load,
    ),
    Form(
        intake_report.FORM,
        "intake",
        "The process counts as dead until its next report.",
        lambda data: intake_report.IntakeReport.load("", data),
    ),
    Form(
        alert_board.FORM,
        "alerts",
        "A new one is started: present faults are reported once more.",
        alert_board.AlertBoard.load,
    ),
    Form(
        replay_order.FORM,
        "replay:<n>",
        "The replay cannot be resumed, and the command says so.",
        replay_order.ReplayOrder.load,
    ),
    Form(
        replay_order.MARK_FORM,
        "replay:<n>:done",
        "The stream is replayed from its beginning, with the same idempotency keys.",
        replay_order.load_mark,
    ),
    Form(
        COUNT,
        "counters, calls, sources, replay:seq, evidence:<source>",
        "It counts as 0.",
        count_of,
    ),
    Form(
        sample.FORM,
        "samples",
        "The charts leave it out.",
        sample.Sample.load,
    ),
    Form(
        sample.TOTALS_FORM,
        "samples:totals",
        "The next sample has no rates, and writes it again.",
        sample.SampleTotals.load,
    ),
    Form(
        spool_mark.FORM,
        "spools",
        "It is ignored: no hold waits for that host. `status` and an alert say so.",
        spool_mark.load,
    ),
)
