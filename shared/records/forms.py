"""Every form that is stored, and what becomes of a value that cannot be read. ``docs/wire.md`` has the same table.

No stored value may stop a process or a shard, whoever wrote it: each ``load`` takes any bytes, and returns
``Unreadable`` instead of raising.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

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
    spool_mark,
    store_mark,
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
        "It becomes a dead letter `undecodable`, with its bytes; the shard goes on.",
        inbox_entry,
    ),
    Form(
        order_state.FORM,
        "order:<stream>",
        "The stream is isolated: what arrives, and what was held, becomes dead letters `state_unreadable`.",
        order_state.load,
    ),
    Form(
        stored_event.FORM,
        "event:<fingerprint>",
        "Each of its calls becomes a dead letter `event_missing`; the queue goes on.",
        lambda data: stored_event.StoredEvent.load("0" * 32, {b"head": data, b"body": b""}),
    ),
    Form(
        queue_entry.FORM,
        "queue:<unit>",
        "It becomes a dead letter `event_missing`; the queue goes on.",
        queue_entry.load,
    ),
    Form(
        presence.FORM,
        "workers:doing",
        "The process does not count as living; its next word, seconds later, replaces the value.",
        presence.load,
    ),
    Form(
        presence.LOST_FORM,
        "lost",
        "It is left out of what `status` says.",
        presence.load_lost,
    ),
    Form(
        presence.RESTART_FORM,
        "restarts",
        "It is left out of what `status` says; the next end of the process replaces it.",
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
        "It is begun anew by the next event, and by what the API shows.",
        read_model.load,
    ),
    Form(
        document_record.FORM,
        "document:<stream>",
        "It counts as none: the document is fetched once more, and stored under the same name.",
        document_record.DocumentRecord.load,
    ),
    Form(
        store_mark.FORM,
        "stores",
        "It counts as none; the next document that is stored there writes it anew.",
        lambda data: store_mark.StoreMark.load("0" * 32, data),
    ),
    Form(
        tombstone.FORM,
        "erased:<stream>",
        "It is a tombstone all the same; its time is not known.",
        tombstone.Tombstone.load,
    ),
    Form(
        clean_entry.FORM,
        "events",
        "Readers of the API pass over it.",
        lambda data: clean_entry.CleanEntry.load(dict.fromkeys(clean_entry.NAMES, data)),
    ),
    Form(
        subscriptions.FORM,
        "subscriptions",
        "Nothing is released until a worker announces it again, within 10 s.",
        lambda data: subscriptions.load({b"actions": data}),
    ),
    Form(
        intake_report.FORM,
        "intake",
        "The process counts as none that lives, until its next report.",
        lambda data: intake_report.IntakeReport.load("", data),
    ),
    Form(
        alert_board.FORM,
        "alerts",
        "It is begun anew: what is wrong is told once more.",
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
        "counters, calls, sources, replay:seq",
        "It counts as 0.",
        count_of,
    ),
    Form(
        spool_mark.FORM,
        "spools",
        "It counts for nothing: no hold waits for that host. `status` and an alert say so.",
        spool_mark.load,
    ),
)
