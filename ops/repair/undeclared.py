"""Calls of actions that no module declares any more: no process will ever run them. Ended, or given to another action."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from deedbox.shared.core.errors import DeedboxError
from deedbox.shared.core.fields import counts_of
from deedbox.shared.records.subscriptions import Subscriptions, announced
from deedbox.shared.redis import keys, repair_calls
from deedbox.shared.redis.connections import translating
from deedbox.shared.redis.scripting import Scripts
from deedbox.shared.retention import Retention

PIECE: Final = 15
"""Calls of one script call: about 2 ms of Redis's time, for which every other client waits."""

_DECLARED: Final = -1
_NO_TARGET: Final = -2
_NO_DECLARATION: Final = -3


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of an action's calls."""

    calls: int
    left: int
    """Calls in queues that a process of an old version, or of the other action, runs just now: ask again."""


@dataclass(frozen=True, slots=True)
class CallsByAction:
    """One look at what is declared, and at the calls that wait or run."""

    subscribed: Subscriptions
    depths: Mapping[str, int]

    @property
    def undeclared(self) -> dict[str, int]:
        """The actions that have calls and are not declared any more, with the number of their calls."""
        return self.subscribed.undeclared(self.depths)

    def to_end(self, action: str) -> int:
        """Return how many calls an action has. Raises DeedboxError if it is declared, or nothing is known."""
        if not self.subscribed.generation:
            raise _refused(_NO_DECLARATION, action)
        if action in self.subscribed.lane_of:
            raise _refused(_DECLARED, action)
        return self.depths.get(action, 0)

    def to_rename(self, action: str, to: str) -> int:
        """Return how many calls an action has. Raises DeedboxError if it is declared, or the other one is not."""
        calls = self.to_end(action)
        if to not in self.subscribed.lane_of:
            raise _refused(_NO_TARGET, action, to)
        return calls


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

    @translating()
    def look(self) -> CallsByAction:
        """Read the declared actions and how many calls each action has."""
        redis = self._scripts.redis
        depths: Any = redis.hgetall(keys.DEPTHS)
        return CallsByAction(announced(redis), counts_of(depths))

    def end(self, action: str) -> Moved:
        """Make a dead letter of each call. Raises DeedboxError as ``CallsByAction.to_end``."""
        ended, left, more = 0, 0, 1
        while more:
            more, left = repair_calls.end_calls(
                self._scripts, action=action, at_most=PIECE, retention=self._retention
            )
            if more < 0:
                raise _refused(more, action)
            ended += more
        return Moved(ended, left)

    def rename(self, action: str, to: str) -> Moved:
        """Give the calls to another action, before what waits for it. Its name becomes part of their idempotency keys.

        Raises DeedboxError as ``CallsByAction.to_rename``.
        """
        moved, left, more = 0, 0, 1
        while more:
            more, left, ring, lane = repair_calls.rename_calls(
                self._scripts, action=action, to=to, at_most=PIECE
            )
            if more < 0:
                raise _refused(more, action, to)
            moved += more
            if ring:
                self._ring(lane)
        return Moved(moved, left)


def _refused(code: int, action: str, to: str = "") -> DeedboxError:
    return DeedboxError({
        _DECLARED: f"The action {action} is declared: its workers run its calls.",
        _NO_TARGET: f"No process declares the action {to}; start its workers, or correct the name.",
        _NO_DECLARATION: "No worker has announced which actions are declared; start the workers first.",
    }[code])  # fmt: skip
