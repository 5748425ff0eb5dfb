"""Every stored form: what was written is read back the same."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deedbox.shared import pauses
from deedbox.shared.alerts.alerting import AlertState, Group
from deedbox.shared.alerts.conditions import AlertWatch
from deedbox.shared.archives import stream_archive
from deedbox.shared.audit import AuditedOperation, AuditLine, Way, audit_line
from deedbox.shared.audit.audit_line import bounded
from deedbox.shared.core.attempts import QueueEntry
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.fields import COUNT
from deedbox.shared.core.ordering import Arrival, Held, Position, Proof, SequenceState
from deedbox.shared.core.routing import PauseKind
from deedbox.shared.core.signature import BodySignature, Origin
from deedbox.shared.core.status import advance
from deedbox.shared.pauses import Pause, PauseTarget
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
from deedbox.shared.records.alert_board import AlertBoard
from deedbox.shared.records.document_record import DocumentRecord, StoreMark
from deedbox.shared.records.intake_report import IntakeReport, SourceReport
from deedbox.shared.records.presence import LostCall, Presence, Restart
from deedbox.shared.records.replay_order import ReplayOrder, ReplaySpan
from deedbox.shared.records.stored_event import StoredEvent
from deedbox.shared.records.subscriptions import Subscription, Subscriptions
from deedbox.shared.records.tombstone import Tombstone
from tests.unit.records.forms import FORMS, INBOX_FORM, Form, lost_call

LAW = settings(derandomize=True, max_examples=150, deadline=None)

FINGERPRINTS = st.text("0123456789abcdef", min_size=32, max_size=32)
TEXTS = st.text(st.characters(), max_size=8) | st.sampled_from(["\ud800", "\x00", "a|b"])
TIMES = st.floats(0.0, 2.0**37)
COUNTS = st.integers(0, 2**53)
POSITIONS = st.builds(Position, COUNTS, st.integers(0, 8), TEXTS, FINGERPRINTS)

Dump = Callable[[Any], bytes | str]


def stored_as(dump: Dump, value: Any) -> bytes:
    text = dump(value)
    return text.encode() if isinstance(text, str) else text


def _model(events: list[tuple[str, int, list[str]]]) -> dict[str, Any]:
    model: dict[str, Any] = {}
    for name, at, signers in events:
        rows = [{"signature_id": each, "signed_at": at} for each in signers]
        model = advance(
            model, "signature_request_" + name, at, {"signature_request": {"signatures": rows, "title": name}}
        )
    return {
        **model,
        "reconciled": {"told": ["x|y"], "gaps": [], "missed": [], "by": "k", "at": 1.5, "advanced": True},
    }


SAMPLES: Final[dict[str, tuple[st.SearchStrategy[Any], Dump]]] = {
    order_state.FORM: (
        st.builds(
            SequenceState,
            held=st.lists(
                st.builds(
                    Held,
                    st.builds(
                        Arrival, POSITIONS, TEXTS, st.lists(st.builds(Proof, TEXTS, TEXTS, COUNTS)).map(tuple)
                    ),
                    TIMES,
                ),
                max_size=2,
            ).map(tuple),
            greatest=st.none() | POSITIONS,
            satisfied=st.frozensets(TEXTS),
            wildcards=st.dictionaries(TEXTS, COUNTS),
            given_up=st.dictionaries(TEXTS, COUNTS),
            noted=st.booleans(),
            reconciled=st.dictionaries(TEXTS, COUNTS, max_size=3),
        ),
        order_state.dump,
    ),
    queue_entry.FORM: (
        st.builds(
            QueueEntry,
            fingerprint=FINGERPRINTS,
            enqueued_at=TIMES,
            late=st.booleans(),
            failures=COUNTS,
            retries=COUNTS,
            backoffs=COUNTS,
            first_failed_at=st.none() | st.floats(1.0, 2.0**40),
            due_at=st.none() | st.floats(1.0, 2.0**40),
            replay=COUNTS,
            losses=COUNTS,
        ),
        queue_entry.dump,
    ),
    presence.FORM: (
        st.builds(Presence, TEXTS, TEXTS, TEXTS, st.none() | TIMES),
        presence.dump,
    ),
    presence.LOST_FORM: (
        st.builds(LostCall, TIMES, TEXTS, TEXTS, TEXTS, TEXTS, COUNTS),
        lost_call,
    ),
    presence.RESTART_FORM: (
        st.builds(Restart, TEXTS, TEXTS, TEXTS, COUNTS, TIMES, TEXTS),
        presence.dump_restart,
    ),
    INBOX_FORM: (
        st.tuples(
            TIMES,
            st.builds(
                Envelope,
                source=st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True),
                received_at=TIMES,
                body_signature=st.sampled_from(BodySignature),
                trace_id=FINGERPRINTS,
                body=st.binary(max_size=20),
                redrive=st.sampled_from(["", "letter-7"]),
                codec=st.sampled_from(["", "zstd-1"]),
                span_id=st.sampled_from(["", "0123456789abcdef"]),
                origin=st.sampled_from([Origin.CALLBACK, Origin.RECONCILED]),
            ),
        ),
        lambda pair: repr(pair[0]).encode() + b"\n" + pair[1].pack(),
    ),
    stored_event.FORM: (
        st.builds(
            StoredEvent,
            fingerprint=st.just("0" * 32),
            source=TEXTS,
            ordering_key=TEXTS,
            event_type=TEXTS,
            event_time=COUNTS,
            related_signature_id=st.none() | TEXTS,
            received_at=TIMES,
            arrived_at=TIMES,
            body_signature=st.sampled_from(BodySignature),
            trace_id=TEXTS,
            body_digest=TEXTS,
            body=st.just(b""),
            span_id=TEXTS,
            origin=st.sampled_from(Origin),
        ),
        lambda event: b"".join(event.fields()[1::2]),
    ),
    timeline_line.FORM: (
        st.lists(
            st.fixed_dictionaries(
                {"at": TIMES, "kind": TEXTS},
                optional={
                    "type": TEXTS,
                    "took_s": TIMES,
                    "event": FINGERPRINTS,
                    "position": st.tuples(COUNTS, COUNTS, FINGERPRINTS).map(list),
                },
            ),
            min_size=1,
            max_size=timeline_line.LINES_MAX,
        ),
        lambda lines: timeline_line.dump(lines)[0],
    ),
    read_model.FORM: (
        st.lists(
            st.tuples(
                st.sampled_from(["sent", "viewed", "all_signed", "declined"]),
                COUNTS,
                st.lists(st.sampled_from(["s1", "s2"]), max_size=2),
            ),
            min_size=1,
            max_size=3,
        ).map(_model),
        read_model.dump,
    ),
    document_record.FORM: (
        st.builds(
            DocumentRecord,
            st.lists(
                st.fixed_dictionaries(
                    {
                        "sha256": TEXTS,
                        "size": COUNTS,
                        "url": TEXTS,
                        "trigger": TEXTS,
                        "fetched_at": TIMES,
                        "store": TEXTS,
                    }
                ),
                max_size=2,
            ),
            st.lists(TEXTS, max_size=2),
            st.booleans(),
            TEXTS,
        ),
        lambda record: record.dump(),
    ),
    document_record.STORE_FORM: (
        st.builds(StoreMark, st.just("0" * 32), TEXTS, TEXTS, TIMES),
        lambda mark: mark.dump(),
    ),
    tombstone.FORM: (st.builds(Tombstone, TIMES, TEXTS), lambda mark: mark.dump()),
    subscriptions.FORM: (
        st.builds(
            Subscriptions,
            st.lists(st.builds(Subscription, TEXTS, st.lists(TEXTS).map(tuple), TEXTS, st.booleans())).map(
                tuple
            ),
        ),
        lambda found: found.dump().encode(),
    ),
    sample.FORM: (
        st.builds(
            sample.Sample,
            TIMES,
            st.none() | TIMES,
            st.dictionaries(TEXTS, COUNTS),
            st.dictionaries(TEXTS, TIMES),
            st.dictionaries(TEXTS, st.integers(1, 2**53)),
            st.dictionaries(TEXTS, COUNTS),
        ),
        lambda each: each.dump(),
    ),
    sample.TOTALS_FORM: (
        st.builds(
            sample.SampleTotals,
            TIMES,
            st.dictionaries(TEXTS, COUNTS),
            st.dictionaries(
                TEXTS,
                st.builds(
                    sample.WebTotals,
                    TIMES,
                    COUNTS,
                    COUNTS,
                    st.dictionaries(TEXTS, COUNTS),
                    st.just((1.0, 2.0)),
                    st.just((3, 2, 1)),
                ),
            ),
        ),
        lambda each: each.dump(),
    ),
    intake_report.FORM: (
        st.builds(
            IntakeReport,
            st.just(""),
            TIMES,
            TIMES,
            st.just((1.0, 2.0)),
            st.tuples(COUNTS, COUNTS, COUNTS),
            st.dictionaries(
                TEXTS,
                st.builds(
                    SourceReport,
                    COUNTS,
                    COUNTS,
                    st.dictionaries(TEXTS, COUNTS, max_size=2),
                    st.none() | TIMES,
                    st.none() | TIMES,
                    st.lists(TIMES, max_size=2).map(tuple),
                ),
                max_size=2,
            ),
            st.dictionaries(TEXTS, COUNTS, max_size=2),
        ),
        lambda report: report.dump(),
    ),
    alert_board.FORM: (
        st.builds(
            AlertBoard,
            st.builds(
                AlertState,
                st.lists(
                    st.builds(
                        Group,
                        TEXTS,
                        TEXTS,
                        st.none() | TIMES,
                        TIMES,
                        COUNTS,
                        st.lists(TEXTS, max_size=2).map(tuple),
                        st.dictionaries(TEXTS, COUNTS, max_size=2),
                        st.lists(TEXTS, max_size=2).map(tuple),
                    ),
                    max_size=2,
                ).map(tuple),
                st.lists(TIMES, max_size=2).map(tuple),
                st.booleans(),
            ),
            st.builds(
                AlertWatch,
                COUNTS,
                st.dictionaries(TEXTS, st.tuples(COUNTS, TIMES), max_size=2),
                st.dictionaries(TEXTS, st.tuples(TEXTS, TIMES, TIMES), max_size=2),
            ),
        ),
        lambda board: board.dump(),
    ),
    replay_order.FORM: (
        st.builds(
            ReplayOrder,
            st.lists(TEXTS, max_size=2).map(tuple),
            st.builds(ReplaySpan, TIMES, TIMES | st.just(math.inf)),
            TEXTS,
            TEXTS,
            TEXTS,
        ),
        lambda order: order.dump(),
    ),
    replay_order.MARK_FORM: (POSITIONS, replay_order.dump_mark),
    COUNT: (COUNTS, str),
    pauses.FORM: (
        st.builds(Pause, st.just(PauseTarget(PauseKind.ACTION, "crm")), COUNTS, TIMES, TEXTS, TEXTS),
        lambda each: json.dumps({"n": each.number, "at": each.at, "by": each.by, "why": each.why}),
    ),
    audit_line.FORM: (
        st.builds(
            AuditLine,
            TEXTS,
            st.sampled_from(Way),
            st.sampled_from(AuditedOperation),
            st.none() | COUNTS,
            st.dictionaries(TEXTS, COUNTS | st.lists(TEXTS, min_size=1, max_size=3), max_size=2).map(bounded),
            TIMES,
        ),
        lambda line: repr(line.at).encode() + b" " + line.dump(),
    ),
    spool_mark.FORM: (
        st.builds(spool_mark.SpoolMark, TEXTS, COUNTS, COUNTS, COUNTS, TIMES, TIMES),
        spool_mark.dump,
    ),
}


def by_name(form: Form) -> str:
    return form.name


TEXT_FORMS = [form for form in FORMS if form.name in SAMPLES]
"""The others are fields, and have a test of their own below."""


def test_every_form_is_tried() -> None:
    assert {*SAMPLES, clean_entry.FORM, stream_archive.FORM} == {form.name for form in FORMS}


@pytest.mark.parametrize("form", TEXT_FORMS, ids=by_name)
@LAW
@given(st.data())
def test_what_was_written_is_read_back_the_same(form: Form, data: st.DataObject) -> None:
    values, dump = SAMPLES[form.name]
    value = data.draw(values)
    assert form.load(stored_as(dump, value)) == value
