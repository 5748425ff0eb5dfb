"""What a host says of its spool is never believed for longer than its lease."""

from __future__ import annotations

from deedbox.shared.records import spool_mark
from deedbox.shared.records.spool_mark import LEASE_S, SpoolMark, SpoolMarks

NOW = 2000.0


def test_a_host_that_does_not_renew_its_mark_holds_nothing_up() -> None:
    stored = {
        b"living": spool_mark.dump(SpoolMark("web-1", 1, 10, 1 << 30, 500.0, NOW - LEASE_S)).encode(),
        b"vanished": spool_mark.dump(SpoolMark("web-2", 2, 20, 1 << 30, 100.0, NOW - LEASE_S - 1)).encode(),
        b"poison": b'{"oldest_received_at": "soon"}',
    }
    found = SpoolMarks.of(stored, NOW)
    assert found.oldest_received_at == 500.0
    assert (set(found.live), set(found.silent), found.unreadable) == ({"living"}, {"vanished"}, ("poison",))
    assert found.size_bytes == 30
