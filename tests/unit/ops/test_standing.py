"""A standing fault is reported once when it has lasted, again after hours, and once when it is over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deedbox.ops.alerts.standing import ALERTED, HOLD_S, Name, Notice, Standing, compare
from deedbox.ops.readmodels.attention import Attention, AttentionKind, Severity
from deedbox.ops.wording import fault_alerts
from deedbox.shared.alerts.conditions import REMIND_S

AWAY = Attention(AttentionKind.REDIS_AWAY, Severity.URGENT, "Redis does not answer.")
LANE = Attention(AttentionKind.NO_WORKER, Severity.URGENT, "Lane crm has no worker.", about="crm")


def _told(looks: Iterable[tuple[float, list[Attention]]]) -> list[tuple[float, Notice]]:
    standing: Mapping[Name, Standing] = {}
    found = []
    for now, seen in looks:
        compared = compare(standing, seen, now)
        standing = compared.standing
        found += [(now, notice) for notice in compared.notices]
    return found


def test_a_fault_that_lasts_is_reported_once_and_once_when_it_is_over() -> None:
    looks = [(at, [AWAY] if at < 300 else []) for at in range(0, 600, 5)]
    assert [(at, notice.kind, notice.resolved) for at, notice in _told(looks)] == [
        (HOLD_S, AttentionKind.REDIS_AWAY, False),
        (295 + HOLD_S, AttentionKind.REDIS_AWAY, True),
    ]


def test_a_restart_is_not_reported() -> None:
    assert _told((at, [LANE] if at < HOLD_S else []) for at in range(0, 100, 5)) == []


def test_a_fault_that_flickers_is_one_fault() -> None:
    looks = [(at, [LANE] if at % 10 == 0 else []) for at in range(0, 300, 5)]
    assert len(_told(looks)) == 1


def test_a_fault_that_nobody_fixes_is_reported_again_after_hours() -> None:
    looks = [(at, [LANE]) for at in range(0, int(2 * REMIND_S), 60)]
    assert [notice.resolved for _, notice in _told(looks)] == [False, False]


def test_two_lanes_are_two_faults() -> None:
    other = Attention(AttentionKind.NO_WORKER, Severity.URGENT, "Lane x has no worker.", about="x")
    told = _told((at, [LANE, other]) for at in range(0, 60, 5))
    assert {notice.about for _, notice in told} == {"crm", "x"}


def test_what_could_not_be_looked_at_is_neither_over_nor_new() -> None:
    standing = compare({}, [LANE], 0.0).standing
    standing = compare(standing, [LANE], HOLD_S).standing
    for at in range(30, 600, 5):
        compared = compare(standing, [], float(at), unseen={AttentionKind.NO_WORKER})
        assert compared.notices == ()
        standing = compared.standing
    assert compare(standing, [], 600 + HOLD_S).notices[0].resolved


def test_what_can_wait_is_no_message() -> None:
    letters = Attention(AttentionKind.DEAD_LETTERS, Severity.NOTICE, "3 dead letters need a decision.")
    assert _told((at, [letters]) for at in range(0, 600, 5)) == []


@given(st.lists(st.booleans(), max_size=200))
def test_reports_and_their_ends_alternate(there: list[bool]) -> None:
    told = _told((5.0 * number, [AWAY] if each else []) for number, each in enumerate(there))
    assert [notice.resolved for _, notice in told] == [bool(number % 2) for number in range(len(told))]


@pytest.mark.parametrize("kind", sorted(ALERTED))
def test_every_fault_has_a_headline(kind: AttentionKind) -> None:
    assert fault_alerts.title(kind, "crm", resolved=True).startswith("Deedbox: resolved: ")
