"""A look of the sweeper that fails stops neither the others nor the process."""

from __future__ import annotations

import pytest
from redis.exceptions import ResponseError

from deedbox.shared.core.errors import Unavailable
from deedbox.workers.sweeper.looks import WAIT_FIRST_S, WAIT_MAX_S, Looks


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Look:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.times = 0

    def __call__(self) -> None:
        self.times += 1
        if self.error is not None:
            raise self.error


def refused() -> Unavailable:
    error = Unavailable("Redis refused")
    error.__cause__ = ResponseError("WRONGTYPE")
    return error


@pytest.mark.parametrize("error", [ValueError("x"), refused(), RecursionError(), KeyError("at")])
def test_a_look_that_fails_is_taken_again_after_a_growing_wait(error: Exception) -> None:
    clock = Clock()
    looks, failing, well = Looks(clock), Look(error), Look()
    waits = []
    for _ in range(8):
        taken, begun = failing.times, clock.now
        while failing.times == taken:
            looks.take("failing", failing)
            looks.take("well", well)
            clock.now += 0.5
        waits.append(clock.now - begun)
    assert waits[:3] == [0.5, WAIT_FIRST_S, 2 * WAIT_FIRST_S]
    assert max(waits) == WAIT_MAX_S
    assert well.times == 2 * sum(waits)


def test_a_look_that_succeeds_again_has_no_wait_left() -> None:
    clock = Clock()
    looks, look = Looks(clock), Look(ValueError())
    looks.take("look", look)
    clock.now += WAIT_FIRST_S
    look.error = None
    looks.take("look", look)
    look.error = ValueError()
    looks.take("look", look)
    clock.now += WAIT_FIRST_S
    looks.take("look", look)
    assert look.times == 4


def test_an_outage_of_redis_is_the_callers_to_wait_for() -> None:
    with pytest.raises(Unavailable):
        Looks(Clock()).take("look", Look(Unavailable("refused")))
