"""Every stored form: what was written is read back the same."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from enum import Enum
from inspect import signature
from types import UnionType
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deedbox.shared import pauses
from deedbox.shared.archives import stream_archive
from deedbox.shared.audit import AuditLine, audit_line
from deedbox.shared.audit.audit_line import bounded
from deedbox.shared.core.attempts import QueueEntry
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.fields import COUNT
from deedbox.shared.core.ordering import Arrival, Held, Position, Proof, SequenceState
from deedbox.shared.core.routing import PauseKind
from deedbox.shared.core.signature import Origin, Trust
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
from deedbox.shared.records.intake_report import IntakeReport
from deedbox.shared.records.presence import LostCall, Presence, Restart
from deedbox.shared.records.replay_order import ReplayOrder, ReplaySpan
from deedbox.shared.records.stored_event import StoredEvent
from deedbox.shared.records.subscriptions import Subscriptions
from deedbox.shared.records.tombstone import Tombstone
from tests.unit.records.forms import FORMS, INBOX_FORM, Form, lost_call

LAW = settings(derandomize=True, max_examples=150, deadline=None)

FINGERPRINTS = st.text("0123456789abcdef", min_size=32, max_size=32)
TEXTS = st.text(st.characters(), max_size=8) | st.sampled_from(["\ud800", "\x00", "a|b"])
TIMES = st.floats(0.0, 2.0**37)
COUNTS = st.integers(0, 2**53)
BOUNDS, BUCKETS = st.just((1.0, 2.0)), st.tuples(COUNTS, COUNTS, COUNTS)
"""Of a histogram."""

POSITIONS = st.builds(Position, COUNTS, st.integers(0, 8), TEXTS, FINGERPRINTS)

PLAIN: Final[Mapping[Any, st.SearchStrategy[Any]]] = {
    str: TEXTS, int: COUNTS, float: TIMES, bool: st.booleans(), type(None): st.none(), Position: POSITIONS,
}  # fmt: skip


def of(kind: Any) -> st.SearchStrategy[Any]:
    """Draw values of a type, as far as stored forms have it."""
    inner, collection = get_args(kind), get_origin(kind)
    if kind in PLAIN:
        return PLAIN[kind]
    if collection is None:
        return st.sampled_from(kind) if issubclass(kind, Enum) else built(kind)
    if collection in {Union, UnionType}:
        return st.one_of(*map(of, inner))
    if issubclass(collection, Mapping):
        return st.dictionaries(of(inner[0]), of(inner[1]), max_size=3)
    if collection is tuple and inner[-1] is not Ellipsis:
        return st.tuples(*map(of, inner))
    return st.lists(of(inner[0]), max_size=2).map(collection)


def built(kind: Any, **special: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Draw values of a class, with every field that it has: a new one is tried without a word here."""
    hints = get_type_hints(kind)
    others = {name: of(hints[name]) for name in signature(kind).parameters if name not in special}
    return st.builds(kind, **others, **special)


Dump = Callable[[Any], bytes | str]


HELD = st.builds(Held, st.builds(Arrival, POSITIONS, TEXTS, of(tuple[Proof, ...]), trust=of(Trust)), TIMES)
"""Without what the event itself says again when it is read."""


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
        built(SequenceState, held=st.lists(HELD, max_size=2).map(tuple)),
        order_state.dump,
    ),
    queue_entry.FORM: (
        built(
            QueueEntry, fingerprint=FINGERPRINTS, first_failed_at=st.none() | st.floats(1.0, 2.0**40),
            due_at=st.none() | st.floats(1.0, 2.0**40),
        ),
        queue_entry.dump,
    ),
    presence.FORM: (built(Presence), presence.dump),
    presence.LOST_FORM: (built(LostCall), lost_call),
    presence.RESTART_FORM: (built(Restart), presence.dump_restart),
    INBOX_FORM: (
        st.tuples(
            TIMES,
            built(
                Envelope, source=st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True), trace_id=FINGERPRINTS,
                body=st.binary(max_size=20), redrive=st.sampled_from(["", "letter-7"]), codec=st.sampled_from(["", "zstd-1"]),
                span_id=st.sampled_from(["", "0123456789abcdef"]), origin=st.sampled_from([Origin.CALLBACK, Origin.RECONCILED]),
                key=st.just(""), shard=st.none(),
            ),
        ),
        lambda pair: repr(pair[0]).encode() + b"\n" + pair[1].pack(),
    ),
    stored_event.FORM: (
        built(StoredEvent, fingerprint=st.just("0" * 32), body=st.just(b""), codec=st.just("")),
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
        built(
            DocumentRecord,
            versions=st.lists(
                st.fixed_dictionaries(
                    {"sha256": TEXTS, "size": COUNTS, "url": TEXTS, "trigger": TEXTS, "fetched_at": TIMES, "store": TEXTS}
                ),
                max_size=2,
            ),
        ),
        DocumentRecord.dump,
    ),
    document_record.STORE_FORM: (built(StoreMark, store=st.just("0" * 32)), StoreMark.dump),
    tombstone.FORM: (built(Tombstone), Tombstone.dump),
    subscriptions.FORM: (
        built(Subscriptions, generation=st.just(0)),
        lambda found: found.dump().encode(),
    ),
    sample.FORM: (built(sample.Sample, happened=st.dictionaries(TEXTS, st.integers(1, 2**53)), bounds_ms=st.just(()), acks=st.just(())), sample.Sample.dump),
    sample.TOTALS_FORM: (
        built(sample.SampleTotals, web=st.dictionaries(TEXTS, built(sample.WebTotals, bounds_ms=BOUNDS, counts=BUCKETS), max_size=3)),
        sample.SampleTotals.dump,
    ),
    intake_report.FORM: (built(IntakeReport, process=st.just(""), bounds_ms=BOUNDS, counts=BUCKETS), IntakeReport.dump),
    alert_board.FORM: (built(AlertBoard), AlertBoard.dump),
    replay_order.FORM: (built(ReplayOrder, span=built(ReplaySpan, until=TIMES | st.just(math.inf))), ReplayOrder.dump),
    replay_order.MARK_FORM: (POSITIONS, replay_order.dump_mark),
    COUNT: (COUNTS, str),
    pauses.FORM: (
        built(Pause, target=st.just(PauseTarget(PauseKind.ACTION, "crm"))),
        lambda each: json.dumps({"n": each.number, "at": each.at, "by": each.by, "why": each.why}),
    ),
    audit_line.FORM: (
        built(
            AuditLine,
            asked=st.dictionaries(TEXTS, COUNTS | st.lists(TEXTS, min_size=1, max_size=3), max_size=2).map(bounded),
        ),
        lambda line: repr(line.at).encode() + b" " + line.dump(),
    ),
    spool_mark.FORM: (built(spool_mark.SpoolMark), spool_mark.dump),
}  # fmt: skip


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
