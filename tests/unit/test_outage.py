"""Trouble that lasts is logged when it begins, ever more rarely while it lasts, and when it is over."""

from __future__ import annotations

from itertools import pairwise

from structlog.testing import capture_logs

from deedbox.shared.runtime import logs
from deedbox.shared.runtime.outage import LONGEST_PAUSE_S, Outage


def test_an_outage_of_three_hours_writes_a_line_a_minute_at_most() -> None:
    now = [0.0]
    with capture_logs() as lines:
        outage = Outage(logs.get("test"), "bridge.waiting", monotonic=lambda: now[0])
        while now[0] < 3 * 3600:
            outage.lasts(error="away")
            now[0] += 0.5
        outage.ended()
        outage.ended()
    told = [line["for_s"] for line in lines if line["event"] == "bridge.waiting"]
    assert told[:7] == [0, 1, 3, 7, 15, 31, 63]
    assert all(later - earlier >= LONGEST_PAUSE_S for earlier, later in pairwise(told[7:]))
    assert len(told) < 3 * 60 + 10
    assert lines[-1] == {"event": "bridge.resumed", "after_s": 3 * 3600, "log_level": "info"}
    assert len(lines) == len(told) + 1


def test_the_next_outage_begins_anew() -> None:
    with capture_logs() as lines:
        outage = Outage(logs.get("test"), "spool.not_drained", "spool.drains", lambda: 1.0)
        for _ in range(2):
            outage.lasts()
            outage.ended()
    assert [line["event"] for line in lines] == ["spool.not_drained", "spool.drains"] * 2


def test_while_all_is_well_nothing_is_written() -> None:
    with capture_logs() as lines:
        Outage(logs.get("test"), "bridge.waiting").ended()
    assert lines == []
