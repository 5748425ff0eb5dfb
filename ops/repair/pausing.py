"""Pauses and resumes: an action, a lane, a source or one request. What waits for it keeps its order, and its events.

A pause is looked at in each claim, in the script that claims: it counts at once for every worker, and survives restarts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, cast

from deedbox.ops.readmodels.timeline import key_of
from deedbox.shared import pauses
from deedbox.shared.core.errors import DeedboxError
from deedbox.shared.core.fields import counts_of
from deedbox.shared.core.routing import DELIVERING, PauseKind
from deedbox.shared.pauses import PAUSES_MAX, Pause, PauseTarget
from deedbox.shared.records.subscriptions import announced
from deedbox.shared.redis import keys, repair_calls
from deedbox.shared.redis.connections import translating
from deedbox.shared.redis.scripting import Scripts

WHY_MAX_CHARS: Final = 200

_TOO_MANY, _ERASED = -1, -2

Counts = dict[bytes, bytes]


@dataclass(frozen=True, slots=True)
class PausePlan:
    """What a pause or a resume would do."""

    target: PauseTarget
    pause: Pause | None
    """The pause that there is."""
    waiting: int
    """Calls that wait, or run."""

    def document(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "kind": str(self.target.kind), "name": self.target.name, "waiting": self.waiting,
            "paused": self.pause.document() if self.pause else None,
        }  # fmt: skip


class Pauser:
    """Every method raises Unavailable if Redis does not answer."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._redis = scripts.redis

    @translating()
    def plan(self, target: PauseTarget) -> PausePlan:
        """Say what is so now, and change nothing."""
        known = {each.target: each for each in pauses.read(self._redis)}
        return PausePlan(target, known.get(target), self._waiting(target))

    @translating()
    def demand_known(self, target: PauseTarget, sources: tuple[str, ...]) -> None:
        """Refuse to pause what is not there: a typing error must not look like a pause. Raises DeedboxError."""
        subscribed = announced(self._redis)
        actions = (*subscribed.lane_of, *subscribed.undeclared(self._depths()))
        known = {
            PauseKind.ACTION: actions,
            PauseKind.DESTINATION: tuple(
                name.removeprefix(DELIVERING) for name in actions if name.startswith(DELIVERING)
            ),
            PauseKind.LANE: tuple(subscribed.lanes),
            PauseKind.SOURCE: sources,
        }
        names = known.get(target.kind)
        if names is not None and target.name not in names:
            there = ", ".join(sorted(names)) or "none"
            raise DeedboxError(f"There is no {target.kind} {target.name}; there are: {there}.")

    def pause(self, target: PauseTarget, *, by: str, why: str = "") -> bool:
        """Pause. Returns whether it was not paused before. Raises DeedboxError if it cannot be."""
        stream = target.name if target.kind is PauseKind.REQUEST else ""
        code = repair_calls.pause(
            self._scripts,
            target=target.field,
            by=by,
            why=why[:WHY_MAX_CHARS],
            at_most=PAUSES_MAX,
            stream=stream,
        )
        if code == _TOO_MANY:
            raise DeedboxError(
                f"{PAUSES_MAX} things are paused; resume some, or pause their source or action."
            )
        if code == _ERASED:
            raise DeedboxError(f"{target.told} was erased.")
        return bool(code)

    @translating()
    def resume(self, target: PauseTarget) -> bool:
        """Resume. Returns whether it was paused. The sweeper rings the lanes, within a second."""
        return bool(self._redis.hdel(keys.PAUSED, target.field))

    def _waiting(self, target: PauseTarget) -> int:
        match target.kind:
            case PauseKind.ACTION | PauseKind.DESTINATION:
                return self._depths().get(target.field.partition("|")[2], 0)
            case PauseKind.LANE:
                depths = self._depths()
                return sum(depths.get(each, 0) for each in announced(self._redis).lanes.get(target.name, ()))
            case PauseKind.SOURCE:
                return 0
            case PauseKind.REQUEST:
                return sum(counts_of(cast("Counts", self._redis.hgetall(keys.queued(target.name)))).values())

    def _depths(self) -> dict[str, int]:
        return counts_of(cast("Counts", self._redis.hgetall(keys.DEPTHS)))


def target_of(kind: PauseKind, name: str, source: str = "default") -> PauseTarget:
    """Return what a person named. ``source``: of a request. Raises DeedboxError for what cannot be paused."""
    if kind is PauseKind.LANE and name == keys.SEQUENCER:
        raise DeedboxError("The lane sequencer cannot be paused: it calls no action. Pause a source instead.")
    if kind is PauseKind.ACTION:
        return PauseTarget.of(f"{kind}|{name}") or PauseTarget(kind, name)
    if kind is not PauseKind.REQUEST:
        return PauseTarget(kind, name)
    return PauseTarget(kind, f"{source}:{key_of(name)}")
