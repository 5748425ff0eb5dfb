"""What a failed call leads to."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deedbox.shared.core.attempts import (
    BACKOFF_FIRST_S,
    BACKOFF_MAX_S,
    GIVE_UP_S,
    WAKE_S,
    Again,
    AttemptPolicy,
    Dead,
    Failure,
    QueueEntry,
    after_failure,
    backoff_s,
)
from deedbox.shared.core.reasons import DeathReason

LAW = settings(derandomize=True, max_examples=80, deadline=None)
NOW = 1_700_000_000.0
FINGERPRINT = "0123456789abcdef" * 2
ENTRY = QueueEntry(FINGERPRINT, enqueued_at=NOW)
POLICY = AttemptPolicy(attempts=3, give_up_s=100.0)

TIMES = st.floats(1.0, 2.0**40)
ENTRIES = st.builds(
    QueueEntry,
    fingerprint=st.text("0123456789abcdef", min_size=32, max_size=32),
    enqueued_at=TIMES,
    late=st.booleans(),
    failures=st.integers(0, 100),
    retries=st.integers(0, 10_000),
    backoffs=st.integers(0, 100),
    first_failed_at=st.none() | TIMES,
    due_at=st.none() | TIMES,
    replay=st.integers(0, 9),
)


@pytest.mark.parametrize("step", range(1, 40))
def test_the_backoff_doubles_from_one_second_to_ten_minutes(step: int) -> None:
    longest = backoff_s(step, 1.0)
    assert longest == min(600.0, 2.0 ** (step - 1))
    assert BACKOFF_FIRST_S <= longest <= BACKOFF_MAX_S


@LAW
@given(st.integers(1, 10**6), st.floats(0.0, 1.0))
def test_the_jitter_is_full_and_stays_within_the_bounds(step: int, jitter: float) -> None:
    assert 0.0 <= backoff_s(step, jitter) <= backoff_s(step, 1.0) <= BACKOFF_MAX_S
    assert backoff_s(step, 0.0) == 0.0


@pytest.mark.parametrize("failure", [Failure.ERROR, Failure.TIMEOUT])
def test_an_error_uses_an_attempt_and_backs_off(failure: Failure) -> None:
    outcome = after_failure(ENTRY, failure, POLICY, NOW, jitter=1.0)
    assert isinstance(outcome, Again)
    assert (outcome.after_s, outcome.entry.failures, outcome.entry.attempt) == (1.0, 1, 2)


@pytest.mark.parametrize("failure", [Failure.ERROR, Failure.TIMEOUT])
@pytest.mark.parametrize("attempts", [1, 2, 8])
def test_exactly_as_many_attempts_as_allowed_are_made(failure: Failure, attempts: int) -> None:
    policy, entry = AttemptPolicy(attempts=attempts), ENTRY
    for made in itertools.count(1):
        outcome = after_failure(entry, failure, policy, NOW, jitter=0.5)
        if isinstance(outcome, Dead):
            assert (made, outcome.reason) == (attempts, DeathReason.ATTEMPTS_EXHAUSTED)
            break
        entry = outcome.entry


def test_a_retry_uses_no_attempt() -> None:
    entry = ENTRY
    for _ in range(50):
        outcome = after_failure(entry, Failure.RETRY, POLICY, NOW, jitter=0.5)
        assert isinstance(outcome, Again)
        entry = outcome.entry
    assert (entry.failures, entry.retries, entry.attempt) == (0, 50, 1)


@pytest.mark.parametrize("after_s", [99.0, 20 * 86_400.0, None])
def test_no_retry_waits_for_longer_than_its_action_has_patience(after_s: float | None) -> None:
    """Milliseconds for seconds are one slip: the call comes once more when the action gives up, then it is a letter."""
    first = after_failure(ENTRY, Failure.RETRY, POLICY, NOW, jitter=1.0, after_s=POLICY.give_up_s - 1)
    assert isinstance(first, Again)
    now = NOW + first.after_s
    last = after_failure(
        replace(first.entry, backoffs=9), Failure.RETRY, POLICY, now, jitter=1.0, after_s=after_s
    )
    assert isinstance(last, Again)
    assert last.after_s == 1.0
    ended = after_failure(last.entry, Failure.RETRY, POLICY, now + last.after_s, jitter=1.0, after_s=after_s)
    assert ended == Dead(DeathReason.RETRY_EXPIRED)


@LAW
@given(st.lists(st.tuples(st.floats(0.0, 30.0), st.floats(0.0, 10**6)), min_size=1, max_size=30))
def test_only_what_an_action_asked_to_wait_counts_until_it_gives_up(
    rounds: list[tuple[float, float]],
) -> None:
    """However long each call that is due is kept from beginning: by a pause, or because no worker runs."""
    entry, now, asked_s, kept_s = ENTRY, NOW, 0.0, 0.0
    for after_s, paused_s in rounds:
        outcome = after_failure(entry, Failure.RETRY, POLICY, now, jitter=0.0, after_s=after_s)
        if isinstance(outcome, Dead):
            assert asked_s + len(rounds) * WAKE_S >= POLICY.give_up_s - 0.01
            return
        asked_s, kept_s = asked_s + outcome.after_s, kept_s + max(0.0, paused_s - WAKE_S)
        now += outcome.after_s + paused_s
        entry = outcome.entry.begun(now)
        assert entry.first_failed_at == pytest.approx(NOW + kept_s, abs=0.01)
    assert asked_s <= POLICY.give_up_s + 0.01


def test_a_call_that_is_repeated_at_once_has_an_end() -> None:
    entry, now = ENTRY, NOW
    for _ in range(1000):
        outcome = after_failure(entry, Failure.RETRY, POLICY, now, jitter=0.0, after_s=0.0)
        if isinstance(outcome, Dead):
            break
        now += WAKE_S
        entry = outcome.entry.begun(now)
    assert now - NOW == POLICY.give_up_s


def test_a_retry_waits_for_as_long_as_it_asked_for() -> None:
    outcome = after_failure(ENTRY, Failure.RETRY, POLICY, NOW, jitter=0.0, after_s=42.0)
    assert isinstance(outcome, Again)
    assert outcome.after_s == 42.0


def test_a_retry_that_asked_for_nothing_backs_off() -> None:
    entry, waits, patient = ENTRY, [], AttemptPolicy()
    for _ in range(12):
        outcome = after_failure(entry, Failure.RETRY, patient, NOW, jitter=1.0)
        assert isinstance(outcome, Again)
        entry = outcome.entry
        waits.append(outcome.after_s)
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]


def test_retries_that_named_a_time_do_not_make_the_backoff_grow() -> None:
    """A long wait for a budget must not turn the first "not ready yet" into minutes."""
    entry = ENTRY
    for _ in range(20):
        waited = after_failure(entry, Failure.RETRY, POLICY, NOW, jitter=1.0, after_s=0.3)
        assert isinstance(waited, Again)
        entry = waited.entry
    backed_off = after_failure(entry, Failure.RETRY, POLICY, NOW, jitter=1.0)
    assert isinstance(backed_off, Again)
    assert backed_off.after_s == 1


def test_retries_end_when_the_first_failure_is_too_long_ago() -> None:
    first = after_failure(ENTRY, Failure.RETRY, POLICY, NOW, jitter=0.5)
    assert isinstance(first, Again)
    assert isinstance(after_failure(first.entry, Failure.RETRY, POLICY, NOW + 99.9, jitter=0.5), Again)
    assert after_failure(first.entry, Failure.RETRY, POLICY, NOW + 100.0, jitter=0.5) == Dead(
        DeathReason.RETRY_EXPIRED
    )


def test_the_wait_in_the_queue_before_the_first_call_is_not_counted() -> None:
    old = QueueEntry(FINGERPRINT, enqueued_at=NOW - 10 * GIVE_UP_S)
    assert isinstance(after_failure(old, Failure.RETRY, POLICY, NOW, jitter=0.5), Again)


def test_retries_and_errors_are_counted_apart() -> None:
    outcome = after_failure(ENTRY, Failure.ERROR, POLICY, NOW, jitter=1.0)
    assert isinstance(outcome, Again)
    outcome = after_failure(outcome.entry, Failure.RETRY, POLICY, NOW, jitter=1.0)
    assert isinstance(outcome, Again)
    assert (outcome.entry.failures, outcome.entry.retries, outcome.after_s) == (1, 1, 1.0)


def test_a_reject_is_dead_at_once() -> None:
    assert after_failure(ENTRY, Failure.REJECT, POLICY, NOW, jitter=0.5) == Dead(DeathReason.REJECTED)


def test_by_default_there_are_eight_attempts_and_three_days_of_retries() -> None:
    assert AttemptPolicy() == AttemptPolicy(attempts=8, give_up_s=3 * 24 * 3600.0)


@LAW
@given(ENTRIES, st.sampled_from([Failure.ERROR, Failure.TIMEOUT, Failure.RETRY]), st.floats(0.0, 1.0))
def test_the_idempotency_key_survives_failures(entry: QueueEntry, failure: Failure, jitter: float) -> None:
    outcome = after_failure(entry, failure, AttemptPolicy(attempts=1000, give_up_s=2.0**50), NOW, jitter)
    assert isinstance(outcome, Again)
    assert outcome.entry.idempotency_key("crm") == entry.idempotency_key("crm")
    assert outcome.entry.enqueued_at == entry.enqueued_at


def test_a_replay_and_another_action_have_idempotency_keys_of_their_own() -> None:
    keys = {QueueEntry(FINGERPRINT, NOW, replay=number).idempotency_key("crm") for number in range(3)}
    assert len(keys | {ENTRY.idempotency_key("mail")}) == 4
    assert QueueEntry(FINGERPRINT, NOW, replay=2).idempotency_key("crm") == f"{FINGERPRINT}:crm:replay-2"
