"""Which waiting calls no process will run, and which lanes no action uses."""

from __future__ import annotations

from deedbox.ops.readmodels.unknown_calls import UnknownCalls, unknown, unused
from deedbox.shared.records.lanes import AnnouncedLane

NOW = 1_800_000_000.0
LANES = {
    "default": AnnouncedLane(("crm", "track_status"), NOW),
    "documents": AnnouncedLane(("fetch_documents",), NOW),
    "dbg": AnnouncedLane(("debugged",), NOW - 3600),
}


def test_a_lane_that_the_newest_announcement_leaves_out_is_unused() -> None:
    assert unused(LANES, []) == {"dbg"}


def test_a_lane_whose_announcement_cannot_be_read_is_not_called_unused() -> None:
    assert unused({**LANES, "crm": AnnouncedLane((), 0.0)}, ["dbg"]) == frozenset()


def test_a_lane_with_a_living_worker_is_used_and_so_is_the_sequencer() -> None:
    assert unused({**LANES, "sequencer": AnnouncedLane((), NOW - 7200)}, ["dbg"]) == frozenset()


def test_calls_of_an_action_that_no_lane_in_use_declares_are_counted_by_action() -> None:
    sample = [
        ("default", "inp|default:signature_request/r1", 30.0),
        ("default", "inp|default:signature_request/r2", 90.0),
        ("default", "crm|default:signature_request/r1", 500.0),
        ("dbg", "debugged|default:signature_request/r1", 10.0),
        ("sequencer", "17", 1.0),
    ]
    assert unknown(LANES, unused(LANES, []), sample, frozenset({"dbg"})) == [
        UnknownCalls("debugged", "dbg", 1, 10.0, more=True),
        UnknownCalls("inp", "default", 2, 90.0),
    ]


def test_an_action_that_moved_to_another_lane_is_known() -> None:
    sample = [("dbg", "crm|default:signature_request/r1", 10.0)]
    assert unknown(LANES, unused(LANES, []), sample, frozenset()) == []


def test_without_any_announcement_nothing_is_called_unknown() -> None:
    assert unknown({}, frozenset(), [("default", "crm|default:x", 1.0)], frozenset()) == []
