"""What a host says of its spool: read back as it was written, and never believed for longer than its lease."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deedbox.shared.core.errors import Undecodable
from deedbox.shared.records.spool_mark import LEASE_S, SpoolMark, SpoolMarks

TIMES = st.floats(0, 4e9)
MARKS = st.builds(SpoolMark, st.text(), st.integers(0, 10**9), st.integers(0, 10**12), TIMES, TIMES)
MARK = SpoolMark("web-1", 3, 900, 1000.0, 2000.0)


@given(MARKS)
def test_a_mark_is_read_back_as_it_was_written(mark: SpoolMark) -> None:
    assert SpoolMark.load(mark.dump()) == mark


@given(st.binary() | st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*json.loads(MARK.dump())]), inner)).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_anything_else_is_said_to_be_unreadable(stored: bytes) -> None:
    try:
        found = SpoolMark.load(stored)
    except Undecodable:
        return
    assert SpoolMark.load(found.dump()) == found


@pytest.mark.parametrize(
    "change", [{"seen_at": "now"}, {"oldest_received_at": float("nan")}, {"callbacks": None}]
)
def test_a_mark_with_one_wrong_value_is_unreadable(change: dict[str, object]) -> None:
    with pytest.raises(Undecodable):
        SpoolMark.load(json.dumps(json.loads(MARK.dump()) | change))


def test_a_host_that_does_not_renew_its_mark_holds_nothing_up() -> None:
    stored = {
        b"living": SpoolMark("web-1", 1, 10, 500.0, 2000.0 - LEASE_S).dump().encode(),
        b"vanished": SpoolMark("web-2", 2, 20, 100.0, 2000.0 - LEASE_S - 1).dump().encode(),
        b"poison": b'{"oldest_received_at": "soon"}',
    }
    found = SpoolMarks.of(stored, 2000.0)
    assert found.oldest_received_at == 500.0
    assert (set(found.live), set(found.silent), found.unreadable) == ({"living"}, {"vanished"}, ("poison",))
    assert found.size_bytes == 30
