"""What no event tells of becomes facts when it begins or grows, and one message when it is over."""

from __future__ import annotations

import json

from deedbox.shared.alerts.alerting import Kind
from deedbox.shared.alerts.conditions import (
    BURST_S,
    REMIND_S,
    AlertWatch,
    LetterNotice,
    Noticed,
    Seen,
    condition,
    observe,
)

T = 1_800_000_000.0


def _look(seen: Seen, watch: AlertWatch | None = None, at: float = T) -> Noticed:
    noticed = observe(watch or AlertWatch(), seen, at)
    return Noticed(AlertWatch.load(json.loads(json.dumps(noticed.watch.dump()))), noticed.facts, noticed.over)


def _letters(first: int, last: int, reason: str = "rejected") -> Seen:
    letters = [LetterNotice(number, reason, "default") for number in range(last, first - 1, -1)]
    return Seen(dead=last, last_letter=last, letters=letters, since_letter=first - 1)


def _kinds(noticed: Noticed) -> list[str]:
    return [fact.kind for fact in noticed.facts]


def test_each_dead_letter_is_told_once_with_its_reason() -> None:
    first = _look(_letters(1, 3))
    assert [(fact.shown, fact.label) for fact in first.facts] == [
        ("1", "rejected"),
        ("2", "rejected"),
        ("3", "rejected"),
    ]
    assert not _look(_letters(1, 3), first.watch).facts
    assert [fact.shown for fact in _look(_letters(2, 5), first.watch).facts] == ["4", "5"]


def test_dead_letters_beyond_what_was_read_are_counted_once() -> None:
    many = Seen(700, 700, [LetterNotice(700, "rejected", "default")], more=200, since_letter=0)
    first = _look(many)
    assert sum(fact.count for fact in first.facts) == 201
    assert not _look(many, first.watch).facts


def test_no_dead_letters_any_more_is_told_once() -> None:
    first = _look(_letters(1, 1))
    over = _look(Seen(0, 1), first.watch, T + 60)
    assert [(message.kind, message.recovered, message.since) for message in over.over] == [
        (Kind.DEAD_LETTERS, True, T)
    ]
    assert not _look(Seen(0, 1), over.watch, T + 90).over


def test_a_counter_that_a_failover_set_back_hides_nothing() -> None:
    first = _look(_letters(1, 9))
    back = _look(Seen(9, 4), first.watch)
    assert [fact.shown for fact in _look(_letters(5, 5), back.watch).facts] == ["5"]


def test_a_burst_of_wrong_signatures_is_told_and_a_trickle_is_not() -> None:
    watch = _look(Seen(wrong_signatures={"default": 40})).watch
    burst = _look(Seen(wrong_signatures={"default": 44}), watch, T + 10)
    assert [(fact.kind, fact.count) for fact in burst.facts] == [(Kind.SIGNATURE_FAILURES, 4)]
    for number in range(1, 20):
        noticed = _look(Seen(wrong_signatures={"default": 40 + number}), watch, T + number * BURST_S)
        watch = noticed.watch
        assert not noticed.facts


def test_a_url_is_in_danger_after_half_of_the_refusals_that_cost_it() -> None:
    watch = _look(Seen(failures={"default": 4})).watch
    danger = _look(Seen(failures={"default": 5}), watch)
    assert _kinds(danger) == [Kind.URL_IN_DANGER]
    assert not _look(Seen(failures={"default": 8}), danger.watch, T + REMIND_S).facts
    ten = _look(Seen(failures={"default": 10}), danger.watch)
    assert not ten.facts, "only the API can say that the URL was removed"
    over = _look(Seen(failures={"default": 0}), ten.watch)
    assert {message.kind for message in over.over} == {Kind.URL_IN_DANGER}


def test_a_condition_is_told_when_it_begins_changes_and_lasts() -> None:
    watch = AlertWatch()

    def told(value: str, at: float) -> int:
        nonlocal watch
        noticed = condition(watch, Kind.URL_WRONG, "default", "account", value, at)
        watch = noticed.watch
        return len(noticed.facts)

    assert told("the URL is not set", T) == 1
    assert told("the URL is not set", T + 900) == 0
    assert told("the URL is https://other", T + 1800) == 1
    assert told("the URL is https://other", T + 1800 + REMIND_S) == 1
    assert told("", T + 99_999) == 0
    assert not watch.on


def test_sources_are_in_danger_for_themselves() -> None:
    noticed = _look(Seen(failures={"default": 9, "sales": 2}))
    assert [fact.source for fact in noticed.facts] == ["default"]


def test_a_host_that_is_silent_with_its_spool_is_told_once_and_its_end_too() -> None:
    seen = Seen(spools={"web-3": "silent"})
    first = _look(seen)
    assert [(fact.kind, fact.shown, fact.label) for fact in first.facts] == [
        (Kind.SPOOL_SILENT, "web-3", "silent")
    ]
    later = _look(seen, first.watch, T + 30 * 86_400)
    assert not later.facts
    over = _look(Seen(), later.watch, T + 31 * 86_400)
    assert [(message.kind, message.shown, message.recovered) for message in over.over] == [
        (Kind.SPOOL_SILENT, ("web-3",), True)
    ]
    assert not _look(Seen(), over.watch).over
