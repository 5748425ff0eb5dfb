"""Workers announce in Redis which actions they declare: the sequencer dispatches by that, and pages and repairs know it."""

from __future__ import annotations

from typing import Final

from deedbox.shared.records.subscriptions import Subscriptions
from deedbox.shared.redis import script_calls
from deedbox.shared.redis.scripting import Scripts
from deedbox.shared.runtime import logs
from deedbox.workers.actions.registry import Registry

BEAT_S: Final = 10.0
"""How often a process says that it lives, with its declaration."""

SILENCE_S: Final = 60.0
"""After which no process of a declaration lives: some missed beats, and a restart, are shorter."""

log = logs.get("subscriptions")


def announce(scripts: Scripts, registry: Registry, *, runs_actions: bool = True) -> int:
    """Announce the actions of a registry. Returns the generation that counts now. Raises Unavailable.

    ``runs_actions``: false for the sequencer, which is told in settings about actions but runs none: its declaration
    counts only as long as there is no other.
    """
    mine = Subscriptions.of(registry.describe())
    generation, changed = script_calls.announce(
        scripts, digest=mine.digest, declaration=mine.dump(), silence_s=SILENCE_S, only_first=not runs_actions
    )
    if changed:
        log.warning("subscriptions.changed", generation=generation, actions=list(mine.lane_of))
    return generation
