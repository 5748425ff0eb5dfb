"""The sweeper's part in alerts: sends the gathered messages, and looks at conditions that no event reports."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from redis import Redis

from deedbox.shared.alerts.conditions import LetterNotice, Seen, observe
from deedbox.shared.core.fields import count_of
from deedbox.shared.core.reasons import Refusal
from deedbox.shared.records.spool_mark import SpoolMarks
from deedbox.shared.redis import keys
from deedbox.shared.redis.connections import translating
from deedbox.shared.redis.scripting import text
from deedbox.workers.builtins.alert_desk import AlertDesk

LOOK_EVERY_S: Final = 2.0
"""No person reads an alert faster, and each look costs Redis three short round trips."""

LETTERS_MAX: Final = 500
"""Dead letters whose reasons one look reads; more are counted."""

SIGNATURES: Final = (Refusal.BAD_EVENT_HASH, Refusal.BAD_BODY_SIGNATURE)
OURS: Final = b"alert"
"""Action whose dead letters are not told: telling would fail just so."""


class ConditionWatch:
    """Any number of sweepers may run one: what one of them told, the others find told."""

    def __init__(self, redis: Redis, desk: AlertDesk, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis: Any = redis
        self._desk = desk
        self._clock = clock
        self._looked_at = float("-inf")

    def once(self) -> None:
        """Look, if it is time to. Raises Unavailable."""
        if self._clock() < self._looked_at + LOOK_EVERY_S:
            return
        self._looked_at = self._clock()
        self.look()

    def look(self) -> None:
        """Look at everything now. Raises Unavailable."""
        watch, _ = self._desk.read()
        seen = self.seen(watch.last_letter)
        self._desk.change(lambda watch, now: observe(watch, seen, now))

    def seen(self, last_letter: int) -> Seen:
        """Read what is so now; ``last_letter`` is the number of the last one told. Raises Unavailable."""
        with translating():
            with self._redis.pipeline(transaction=False) as pipe:
                pipe.zcard(keys.DEAD)
                pipe.get(keys.dead("seq"))
                pipe.zrange(keys.DEAD, 0, LETTERS_MAX - 1, desc=True)
                pipe.hgetall(keys.SOURCES)
                pipe.hgetall(keys.SPOOLS)
                pipe.time()
                dead, last, newest, sources, spools, (now, _) = pipe.execute()
            last = count_of(last)
            known = min(last_letter, last)
            new = [number for number in map(count_of, newest) if known < number <= last]
            letters = self._letters(new)
        more = min(dead, last - known) - LETTERS_MAX if len(new) == LETTERS_MAX else 0
        failures, wrong = _refusals(sources)
        marks = SpoolMarks.of(spools, now)
        silent = {mark.host: "silent" for mark in marks.silent.values()}
        silent |= dict.fromkeys(marks.unreadable, "unreadable")
        return Seen(dead, last, letters, max(0, more), known, failures, wrong, silent)

    def _letters(self, numbers: list[int]) -> list[LetterNotice]:
        with self._redis.pipeline(transaction=False) as pipe:
            for number in numbers:
                pipe.hmget(keys.dead(str(number)), "reason", "source", "action")
            rows = pipe.execute() if numbers else []
        return [
            LetterNotice(number, text(reason), text(source or b"default"))
            for number, (reason, source, action) in zip(numbers, rows, strict=True)
            if reason is not None and action != OURS
        ]


def _refusals(sources: dict[bytes, bytes]) -> tuple[dict[str, int], dict[str, int]]:
    """Read failures in a row, and refused signatures, by source."""
    failures: dict[str, int] = {}
    wrong: dict[str, int] = {}
    for name, value in sources.items():
        source, _, what = text(name).partition("|")
        failures.setdefault(source, 0)
        wrong.setdefault(source, 0)
        if what == "failures":
            failures[source] = sum(bool(at) for at in value.split(b","))
        elif what.removeprefix("refused|") in SIGNATURES and value.isdigit():
            wrong[source] += int(value)
    return failures, wrong
