"""Every stored form: what was written is read back the same, and any other bytes are a value, never an exception."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deedbox.shared.core.attempts import Entry
from deedbox.shared.core.ordering import Arrival, Held, Position, Proof, SequenceState
from deedbox.shared.records import order_state, queue_entry, spool_mark
from deedbox.shared.records.fields import Unreadable
from deedbox.shared.records.forms import FORMS, Form

LAW = settings(derandomize=True, max_examples=150, deadline=None)

FINGERPRINTS = st.text("0123456789abcdef", min_size=32, max_size=32)
TEXTS = st.text(st.characters(), max_size=8) | st.sampled_from(["\ud800", "\x00", "a|b"])
TIMES = st.floats(0.0, 2.0**40)
COUNTS = st.integers(0, 2**53)
POSITIONS = st.builds(Position, COUNTS, st.integers(0, 8), TEXTS, FINGERPRINTS)

Dump = Callable[[Any], bytes | str]


def stored_as(dump: Dump, value: Any) -> bytes:
    text = dump(value)
    return text.encode() if isinstance(text, str) else text


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
            given_up=st.frozensets(TEXTS),
            noted=st.booleans(),
        ),
        order_state.dump,
    ),
    queue_entry.FORM: (
        st.builds(
            Entry,
            fingerprint=FINGERPRINTS,
            enqueued_at=TIMES,
            late=st.booleans(),
            failures=COUNTS,
            retries=COUNTS,
            backoffs=COUNTS,
            first_failed_at=st.none() | st.floats(1.0, 2.0**40),
            replay=COUNTS,
            losses=COUNTS,
        ),
        queue_entry.dump,
    ),
    spool_mark.FORM: (
        st.builds(spool_mark.SpoolMark, TEXTS, COUNTS, COUNTS, TIMES, TIMES),
        spool_mark.dump,
    ),
}

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
JSON: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
HOSTILE = st.sampled_from(
    [b"", b"null", b"[]", b"{}", b"\xff\xfe", b'"\\ud800"', b"NaN", b"1e999", b"9" * 5000, b"[" * 100_000, b'{"a":' * 5000]
)  # fmt: skip


def mangled(data: st.DataObject, document: Any) -> Any:
    """Exchange one value of a document for any other, or leave it out."""
    if isinstance(document, dict | list) and document and data.draw(st.booleans()):
        name = data.draw(
            st.sampled_from(list(document) if isinstance(document, dict) else range(len(document)))
        )
        copy = document.copy()
        copy[name] = mangled(data, document[name])
        if data.draw(st.integers(0, 5)) == 0:
            del copy[name]
        return copy
    return data.draw(JSON)


def by_name(form: Form) -> str:
    return form.name


def test_every_form_is_tried() -> None:
    assert SAMPLES.keys() == {form.name for form in FORMS}


@pytest.mark.parametrize("form", FORMS, ids=by_name)
@LAW
@given(st.data())
def test_what_was_written_is_read_back_the_same(form: Form, data: st.DataObject) -> None:
    values, dump = SAMPLES[form.name]
    value = data.draw(values)
    assert form.load(stored_as(dump, value)) == value


@pytest.mark.parametrize("form", FORMS, ids=by_name)
@LAW
@given(st.binary(max_size=60) | HOSTILE | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_read_or_unreadable(form: Form, stored: bytes) -> None:
    form.load(stored)


@pytest.mark.parametrize("form", FORMS, ids=by_name)
@LAW
@given(st.data())
def test_what_is_taken_for_a_value_of_the_form_can_be_written_again(form: Form, data: st.DataObject) -> None:
    """Spoiled text is unreadable, or its values have the types that the code behind relies on."""
    values, dump = SAMPLES[form.name]
    stored = stored_as(dump, data.draw(values))
    start = min(at for at in (stored.find(b"{"), stored.find(b"[")) if at >= 0)
    spoiled = json.dumps(mangled(data, json.loads(stored[start:]))).encode()
    found = form.load(stored[:start] + spoiled)
    if not isinstance(found, Unreadable):
        assert form.load(stored_as(dump, found)) == found
