"""Which alerts become messages: the first at once, the rest in groups, never a storm, and nothing uncounted."""

from __future__ import annotations

import json
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from deedbox.shared.alerts.alerting import HOUR_S, AlertFact, AlertState, Kind, Message, Policy, step

T = 1_800_000_000.0
POLICY = Policy(window_s=300, per_hour=20)


def _fact(number: int, kind: str = "file_error", source: str = "default", label: str = "") -> AlertFact:
    return AlertFact(kind, source, f"key-{number}", f"r{number}", label)


def _run(
    *facts: AlertFact, at: float = T, state: AlertState | None = None, policy: Policy = POLICY
) -> tuple[AlertState, tuple[Message, ...]]:
    decision = step(state or AlertState(), facts, (), at, policy)
    return AlertState.load(json.loads(json.dumps(decision.state.dump()))), decision.messages


def test_the_first_of_a_kind_goes_out_at_once() -> None:
    _, messages = _run(_fact(1))
    assert [(message.kind, message.count, message.shown) for message in messages] == [
        ("file_error", 1, ("r1",))
    ]


def test_what_follows_within_the_window_is_one_message_with_a_count_and_a_few_ids() -> None:
    state, _ = _run(_fact(0))
    for number in range(1, 500):
        state, messages = _run(_fact(number), at=T + number / 10, state=state)
        assert not messages
    state, messages = _run(at=T + 299, state=state)
    assert not messages
    state, (message,) = _run(at=T + 300, state=state)
    assert (message.count, len(message.shown), message.since) == (499, 5, T + 0.1)
    assert not _run(at=T + 900, state=state)[1]


def test_kinds_and_sources_do_not_wait_for_each_other() -> None:
    state, _ = _run(_fact(1))
    _, messages = _run(_fact(2, "unknown_error"), _fact(3, source="sales"), at=T + 1, state=state)
    assert {(message.kind, message.source) for message in messages} == {
        ("unknown_error", "default"),
        ("file_error", "sales"),
    }


def test_a_fact_that_is_told_again_counts_once() -> None:
    state, _ = _run(_fact(1), _fact(2))
    state, _ = _run(_fact(2), _fact(1), _fact(3), _fact(3), at=T + 1, state=state)
    _, (message,) = _run(at=T + 300, state=state)
    assert message.count == 1


def test_labels_are_counted_and_bounded() -> None:
    facts = [_fact(number, label=f"reason-{number % 20}") for number in range(100)]
    _, (message,) = _run(*facts)
    assert sum(message.labels.values()) == 100
    assert len(message.labels) <= 9
    assert message.labels["other"] == 60


def test_the_last_message_of_an_hour_says_that_it_is_the_last() -> None:
    policy = Policy(window_s=1, per_hour=5)
    state, kinds = AlertState(), []
    for number in range(50):
        state, messages = _run(_fact(number, f"kind-{number}"), at=T + number, state=state, policy=policy)
        kinds += [message.kind for message in messages]
    assert kinds == ["kind-0", "kind-1", "kind-2", "kind-3", Kind.LIMIT]


def test_what_the_limit_kept_back_goes_out_when_there_is_room() -> None:
    policy = Policy(window_s=1, per_hour=3)
    state, messages = _run(*(_fact(number, f"kind-{number}") for number in range(4)), policy=policy)
    assert [message.kind for message in messages] == ["kind-0", "kind-1", Kind.LIMIT]
    assert messages[-1].labels == {"kind-2": 1, "kind-3": 1}
    _, later = _run(at=T + HOUR_S + 1, state=state, policy=policy)
    assert [message.kind for message in later] == ["kind-2", "kind-3"]


def test_what_is_over_is_told_at_once() -> None:
    over = Message(Kind.DEAD_LETTERS, "", T, T - 60, recovered=True)
    assert step(AlertState(), (), (over,), T, POLICY).messages == (over,)


def test_what_was_held_about_something_is_not_told_after_its_end() -> None:
    state, _ = _run(_fact(1, Kind.DEAD_LETTERS))
    state, _ = _run(_fact(2, Kind.DEAD_LETTERS), _fact(3), at=T + 1, state=state)
    state = step(state, (), (Message(Kind.DEAD_LETTERS, "", T + 2, T, recovered=True),), T + 2, POLICY).state
    assert not _run(at=T + 900, state=state)[1]


def test_the_end_of_one_thing_leaves_what_is_held_about_another() -> None:
    state, _ = _run(_fact(1, Kind.URL_WRONG))
    state, _ = _run(_fact(2, Kind.URL_WRONG), at=T + 1, state=state)
    over = Message(Kind.URL_WRONG, "default", T + 2, T, shown=("r1",), recovered=True)
    state = step(state, (), (over,), T + 2, POLICY).state
    assert [message.shown for message in _run(at=T + 900, state=state)[1]] == [("r2",)]


def test_a_quiet_state_grows_back_to_nothing() -> None:
    state, _ = _run(_fact(1), _fact(2, "unknown_error"))
    assert _run(at=T + 2 * HOUR_S, state=state)[0] == AlertState()


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.floats(0, 900)), max_size=60),
    st.integers(2, 6),
    st.sampled_from([1.0, 60.0, 300.0, 7200.0]),
)
def test_no_hour_has_more_messages_than_allowed_and_every_fact_is_told_or_held(
    course: list[tuple[int, int, float]], per_hour: int, window_s: float
) -> None:
    policy, now, state = Policy(window_s, per_hour), T, AlertState()
    told: Counter[str] = Counter()
    said: Counter[str] = Counter()
    times: list[float] = []
    number = 0
    for kind, count, pause_s in course:
        now += pause_s
        facts = [_fact(number + each, f"kind-{kind}") for each in range(count)]
        number += count
        told[f"kind-{kind}"] += count
        state, messages = _run(*facts, at=now, state=state, policy=policy)
        times += [now] * len(messages)
        for message in messages:
            if message.kind != Kind.LIMIT:
                said[message.kind] += message.count
        assert sum(at > now - HOUR_S for at in times) <= per_hour
    held = Counter({group.kind: group.held for group in state.groups})
    assert said + held == told


def test_a_message_survives_its_way_through_json() -> None:
    _, (message,) = _run(_fact(1, label="test mode"))
    assert Message.load(json.loads(json.dumps(message.dump()))) == message
