"""The accounts' budgets of API calls: a moving window for each kind of call, and a queue of who waits for one.

All processes of all machines share them. A call that must wait is told when its turn comes, and occupies no process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from deedbox.shared.redis import keys, script_calls
from deedbox.shared.redis.scripting import Scripts
from deedbox.shared.settings import BUDGET_WINDOW_S
from deedbox.workers.actions.interface import Context

SLACK_S: Final = 2.0
"""How much later per window a turn is told: calls come some tenths of a second late, and each such delay would make
everything behind it come too early, and ask again. Costs three calls of a hundred while others wait."""

GRACE_S: Final = 10.0
"""How long (seconds) after its turn a place is kept: a busy lane calls late, a killed process never."""

WAIT_MIN_S: Final = 0.25

UNKNOWN_TRIES: Final = 5
"""A request that only claims speak of waits as one whose first tries brought nothing."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Who asks for a call, and what its place in the queue depends on."""

    ticket: str
    """The same for every try; two calls with one ticket share one place."""
    since: float | None = None
    """Unix seconds since when it waits; None: since now."""
    tries: int = 0
    """Calls of the API that brought nothing: fewer go first."""
    group: str = ""
    """Those of one group take turns with all others, and not before them: what one ``event_hash`` brought."""

    @classmethod
    def of(cls, context: Context, ticket: str = "") -> Turn:
        """Return the turn of an action's call; by default each (event, action) has its own ticket."""
        return cls(ticket or context.idempotency_key, context.waiting_since, context.fruitless)

    def behind(self, group: str) -> Turn:
        """Return the turn of a look-up for a request that neither the API has shown nor the vendor's signature."""
        return replace(self, tries=self.tries + UNKNOWN_TRIES, group=group)


class CallBudgets:
    """Shared by threads. ``clock`` is for tests: by default Redis's own counts."""

    def __init__(
        self, scripts: Scripts, per_minute: Mapping[str, int], clock: Callable[[], float] | None = None
    ) -> None:
        self._scripts = scripts
        self._per_minute = per_minute
        self._clock = clock

    def take(self, account: str, turn: Turn, *kinds: str) -> float:
        """Take a call of each kind, all or none. Returns 0, or the seconds until its turn. Raises Unavailable."""
        wait_s = script_calls.budget_take(
            self._scripts, now=self._clock and self._clock(), account=account, window_s=BUDGET_WINDOW_S, slack_s=SLACK_S,
            grace_s=GRACE_S, ticket=turn.ticket, since=turn.since, tries=turn.tries, group=turn.group,
            rates=[(kind, self._per_minute[kind]) for kind in kinds],
        )  # fmt: skip
        return max(WAIT_MIN_S, wait_s) if wait_s else 0.0

    def give_back(self, account: str, kind: str) -> None:
        """Give back a call that was taken and not made. Raises RedisError."""
        self._scripts.redis.lpop(keys.budget(kind, account, "calls"))

    def waits(self, account: str, turn: Turn, kind: str) -> bool:
        """Return whether a ticket has a place in a queue. Raises RedisError."""
        return self._scripts.redis.zscore(keys.budget(kind, account, "queue"), turn.ticket) is not None

    def pause_until(self, account: str, until: float) -> None:
        """Obey the API: no call of this account before ``until`` (unix seconds). Raises RedisError."""
        now = time.time() if self._clock is None else self._clock()
        self._scripts.redis.set(keys.api_pause(account), f"{until:.3f}", ex=max(1, int(until - now) + 1))
