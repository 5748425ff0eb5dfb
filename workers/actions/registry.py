"""The registry: which actions there are, checked once at start, and which of them an event goes to."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from deedbox.shared.core.attempts import AttemptPolicy, CallRate
from deedbox.shared.core.errors import SettingsError
from deedbox.shared.core.routing import Where, is_pattern, matches, unit_of
from deedbox.shared.redis.keys import SEQUENCER
from deedbox.workers.actions.interface import DEFAULT_LANE, ActionFunction

CLEAN_STREAM_KEEP: Final = 100_000
"""Entries that the clean stream is cut to; 0: there is none."""

_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,100}", re.ASCII)


@dataclass(frozen=True, slots=True)
class RegisteredAction:
    """An action, ready to run."""

    name: str
    patterns: tuple[str, ...]
    function: ActionFunction = field(repr=False)
    lane: str = DEFAULT_LANE
    timeout_s: float = 60.0
    ordered: bool = True
    policy: AttemptPolicy = AttemptPolicy()
    rate: CallRate | None = None
    """Calls at most in any window, over all workers; None: any number."""
    concurrency: int | None = None
    """Calls at most at a time, over all workers; None: any number."""
    where: Where = Where()
    """Conditions beside the types; looked at when the event is at the head of its queue."""
    keeps_model: bool = False
    """It changes the read model of a request, and all that it does is in the commit of its call. So the lane reads the models
    of a batch with one command, calls it for many events of a request in a row, and commits the last model."""

    def wants(self, event_type: str) -> bool:
        """Return whether an event type matches one of the patterns. ``*`` leaves internal events out."""
        return any(matches(pattern, event_type) for pattern in self.patterns)

    def unit(self, stream: str, fingerprint: str) -> str:
        """Return the unit of work, whose entries run one after the other: per key, or per event if unordered."""
        return unit_of(self.name, stream, fingerprint, ordered=self.ordered)


class Registry:
    """Where events go in one deployment, the same in every process: its actions, and the clean stream."""

    def __init__(
        self, actions: Iterable[RegisteredAction] = (), events_keep: int = CLEAN_STREAM_KEEP
    ) -> None:
        self.events_keep = events_keep
        self._by_name: dict[str, RegisteredAction] = {}
        self._routes: dict[str, tuple[RegisteredAction, ...]] = {}
        for registered in actions:
            self.add(registered)

    def add(self, registered: RegisteredAction) -> None:
        """Add an action. Raises SettingsError, in one sentence, for a bad or taken name, type, lane or bound."""
        _check(registered)
        if registered.name in self._by_name:
            raise SettingsError(
                f"Two actions are named {registered.name}; give one of them another name, @action(..., name=...)."
            )
        self._by_name[registered.name] = registered
        self._routes.clear()

    @property
    def actions(self) -> tuple[RegisteredAction, ...]:
        """All actions, in order of registration."""
        return tuple(self._by_name.values())

    def get(self, name: str) -> RegisteredAction | None:
        """Return the action of that name, if this process has it."""
        return self._by_name.get(name)

    def subscribed(self, event_type: str) -> tuple[RegisteredAction, ...]:
        """Return the actions that an event of this type goes to, in order of registration."""
        # Remembered per type: types are few. Unknown types come from verified senders only.
        routes = self._routes.get(event_type)
        if routes is None:
            routes = tuple(each for each in self._by_name.values() if each.wants(event_type))
            if len(self._routes) < 1000:  # noqa: PLR2004 - far above the 30 published types
                self._routes[event_type] = routes
        return routes

    @property
    def lanes(self) -> tuple[str, ...]:
        """Every lane that needs workers: the sequencer's first, then in order of registration."""
        return tuple(dict.fromkeys((SEQUENCER, *(each.lane for each in self._by_name.values()))))

    def actions_of(self, lane: str) -> tuple[str, ...]:
        """Return the names of a lane's actions, in order of registration."""
        return tuple(each.name for each in self._by_name.values() if each.lane == lane)

    def describe(self) -> list[dict[str, Any]]:
        """Return the actions as JSON values, for ``python -m deedbox.workers lanes --json``."""
        return [
            {
                "name": each.name,
                "types": list(each.patterns),
                "lane": each.lane,
                "attempts": each.policy.attempts,
                "timeout_s": each.timeout_s,
                "ordered": each.ordered,
                "rate": None if each.rate is None else [each.rate.calls, each.rate.window_s],
                "concurrency": each.concurrency,
                **({"where": each.where.describe()} if each.where.conditions else {}),
            }
            for each in self._by_name.values()
        ]


def _check(registered: RegisteredAction) -> None:
    name = registered.name
    if _NAME.fullmatch(name) is None:
        raise SettingsError(
            f"The action name {name!r} is not usable; use 1 to 100 letters, digits, _, - or ."
        )
    if not registered.patterns or not all(is_pattern(pattern) for pattern in registered.patterns):
        raise SettingsError(
            f"The action {name} names no usable event types; use exact types, a prefix such as "
            "signature_request_*, or *."
        )
    if _NAME.fullmatch(registered.lane) is None:
        raise SettingsError(
            f"The action {name} names an unusable lane; use 1 to 100 letters, digits, _, - or ."
        )
    if registered.timeout_s <= 0 or registered.policy.attempts < 1:
        raise SettingsError(f"The action {name} needs timeout_s above 0 and attempts of at least 1.")
    if registered.concurrency is not None and registered.concurrency < 1:
        raise SettingsError(f"The action {name} needs a concurrency of at least 1.")
