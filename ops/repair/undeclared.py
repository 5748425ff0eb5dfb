"""Calls of actions that no module declares any more: no process will ever run them. Ended, or given to another action."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import RedisError

from deedbox.shared.core.errors import DeedboxError
from deedbox.shared.core.fields import counts_of
from deedbox.shared.records.subscriptions import announced
from deedbox.shared.redis import keys, repair_calls
from deedbox.shared.redis.connections import translated
from deedbox.shared.redis.scripting import Scripts
from deedbox.shared.retention import Retention

PIECE: Final = 200
"""Calls of one script call: some ms of Redis's time."""

_DECLARED: Final = -1
_NO_TARGET: Final = -2


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of an action's calls."""

    calls: int
    left: int
    """Calls in queues that a process of an old version, or of the other action, runs just now: ask again."""


class UndeclaredCalls:
    """Finds and ends them. Every method raises Unavailable if Redis does not answer."""

    def __init__(
        self,
        scripts: Scripts,
        ring: Callable[[str], None],
        retention: Retention = Retention(),  # noqa: B008 - frozen
    ) -> None:
        self._scripts = scripts
        self._ring = ring
        self._retention = retention

    def find(self) -> dict[str, int]:
        """Return the actions and how many calls each has."""
        redis = self._scripts.redis
        try:
            depths: Any = redis.hgetall(keys.DEPTHS)
        except RedisError as error:
            raise translated(error) from error
        return announced(redis).undeclared(counts_of(depths))

    def end(self, action: str) -> Moved:
        """Make a dead letter of each call. Raises DeedboxError if the action is declared."""
        ended, left, more = 0, 0, 1
        while more:
            more, left = repair_calls.end_calls(
                self._scripts, action=action, at_most=PIECE, retention=self._retention
            )
            if more == _DECLARED:
                raise DeedboxError(f"The action {action} is declared: its workers run its calls.")
            ended += more
        return Moved(ended, left)

    def rename(self, action: str, to: str) -> Moved:
        """Give the calls to another action, before what waits for it. Its name becomes part of their idempotency keys.

        Raises DeedboxError if the action is declared, or the other one is not.
        """
        moved, left, more = 0, 0, 1
        while more:
            more, left, ring, lane = repair_calls.rename_calls(
                self._scripts, action=action, to=to, at_most=PIECE
            )
            if more == _DECLARED:
                raise DeedboxError(f"The action {action} is declared: its workers run its calls.")
            if more == _NO_TARGET:
                raise DeedboxError(
                    f"No process declares the action {to}; start its workers, or correct the name."
                )
            moved += more
            if ring:
                self._ring(lane)
        return Moved(moved, left)
