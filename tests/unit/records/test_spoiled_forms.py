"""Any bytes, in the place of a stored form: a value or unreadable, never an exception."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deedbox.shared import codec
from deedbox.shared.core.fields import Unreadable
from deedbox.shared.records import document_record, read_model, stored_event, timeline_line
from deedbox.shared.records.clean_entry import CleanEntry
from deedbox.shared.records.sample import Sample
from tests.unit.records.forms import FORMS, INBOX_FORM, Form
from tests.unit.records.test_forms import (
    COUNTS,
    FINGERPRINTS,
    LAW,
    SAMPLES,
    TEXT_FORMS,
    TEXTS,
    by_name,
    stored_as,
)

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
JSON: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
HOSTILE = st.sampled_from(
    [b"", b"null", b"[]", b"{}", b"\xff\xfe", b'"\\ud800"', b"NaN", b"1e999", b"9" * 5000, b"[" * 100_000, b'{"a":' * 5000]
)  # fmt: skip


PACKED: dict[str, Callable[[bytes], bytes]] = {
    timeline_line.FORM: timeline_line.plain,
    **dict.fromkeys(
        (read_model.FORM, document_record.FORM),
        lambda data: codec.text_of(data, 1_000_000),
    ),
    stored_event.FORM: lambda data: codec.parted(data, 1_000_000)[1],
}
"""Forms that are compressed: what is inside is spoiled, and read in the form that archives have."""

PACKED_AGAIN: dict[str, Callable[[bytes], bytes]] = {
    stored_event.FORM: lambda text: codec.joined((), text),
}
"""Forms that are read compressed only."""


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


@pytest.mark.parametrize("form", FORMS, ids=by_name)
@LAW
@given(st.binary(max_size=60) | HOSTILE | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_read_or_unreadable(form: Form, stored: bytes) -> None:
    form.load(stored)


@pytest.mark.parametrize("form", TEXT_FORMS, ids=by_name)
@LAW
@given(st.data())
def test_what_is_taken_for_a_value_of_the_form_can_be_written_again(form: Form, data: st.DataObject) -> None:
    """Spoiled text is unreadable, or its values have the types that the code behind relies on."""
    values, dump = SAMPLES[form.name]
    stored = stored_as(dump, data.draw(values))
    if form.name in PACKED:
        stored = PACKED[form.name](stored)
    start = min((at for at in (stored.find(b"{"), stored.find(b"[")) if at >= 0), default=0)
    if form.name == INBOX_FORM:
        stored = stored.partition(b"]")[0] + b"]"
    spoiled = json.dumps(mangled(data, json.loads(stored[start:]))).encode()
    found = form.load(PACKED_AGAIN.get(form.name, bytes)(stored[:start] + spoiled))
    if not isinstance(found, Unreadable):
        assert form.load(stored_as(dump, found)) == found


def test_the_stages_of_a_sample_are_names() -> None:
    assert isinstance(Sample.load(b'{"t":1,"s":null,"x":[null,false]}'), Unreadable)


@LAW
@given(
    st.builds(CleanEntry, COUNTS, st.text(), FINGERPRINTS, st.text(), COUNTS, st.text(), st.booleans()),
    st.data(),
)
def test_a_clean_entry_is_read_back_from_its_fields_and_any_fields_are_read(
    entry: CleanEntry, data: st.DataObject
) -> None:
    fields = {b"n": str(entry.number).encode(), b"event": entry.dump()}
    assert CleanEntry.load(fields) == entry
    spoiled = data.draw(st.sampled_from(sorted(fields)))
    for value in (data.draw(st.binary(max_size=9)), None):
        without = (
            {**fields, spoiled: value}
            if value is not None
            else {n: v for n, v in fields.items() if n != spoiled}
        )
        CleanEntry.load(without)
