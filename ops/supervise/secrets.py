"""Which process type gets which secret. What a process does not have, nobody takes from it.

``deedbox up`` starts each process with its own environment. For other process managers ``docs/deploy.md`` has the same
table; a test compares them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from deedbox.shared.redis import keys
from deedbox.shared.secret_files import SUFFIX
from deedbox.shared.settings import SECRETS, Settings

_STATE: Final = frozenset({"DEEDBOX_REDIS_URL"})
_BROKER: Final = _STATE | {"DEEDBOX_BROKER_URL"}
_KEYS: Final = frozenset({"DEEDBOX_API_KEYS", "DEEDBOX_SOURCES"})
_RING: Final = frozenset({"DEEDBOX_ENCRYPTION_KEYS"})
_ALERTS: Final = frozenset({"DEEDBOX_ALERT_URLS"})
_ACTIONS: Final = _STATE | _ALERTS | _RING | {"DEEDBOX_EVENTS_URL", "DEEDBOX_DESTINATIONS"}
"""Every process that works for a lane says which actions there are, and these settings decide that."""

NEEDED: Final[Mapping[str, frozenset[str]]] = {
    "web": _BROKER | _KEYS | _RING,
    "bridge": _BROKER | _RING,
    keys.SEQUENCER: _ACTIONS,
    keys.ALERTS_LANE: _ACTIONS,
    keys.FANOUT: _ACTIONS | _BROKER,
    keys.DESTINATIONS_LANE: _ACTIONS,
    "worker": _ACTIONS | _KEYS,
    "sweeper": _STATE | _ALERTS | _RING,
    "ops": _BROKER | _ALERTS | _RING | {"DEEDBOX_OPS_TOKEN", "DEEDBOX_OPS_TOKENS"},
    "redis": frozenset(),
}
"""By process type: ``worker`` is every lane that has no type here. Without DEEDBOX_EVENTS_URL events go to the broker."""


def process_type(program: str) -> str:
    """Return the type of a line of the process table."""
    lane = program.removeprefix("worker-")
    if lane == program:
        return program
    return lane if lane in keys.RESERVED_LANES & NEEDED.keys() else "worker"


def environment(environ: Mapping[str, str], program: str, settings: Settings) -> dict[str, str]:
    """Return the environment of a process: without the secrets that it does not need.

    A process without API keys still learns the names of the sources and of their accounts. Raises SettingsError.
    """
    needed = NEEDED[process_type(program)]
    withheld = {name + suffix for name in SECRETS if name not in needed for suffix in ("", SUFFIX)}
    found = {name: value for name, value in environ.items() if name not in withheld}
    if "DEEDBOX_SOURCES" not in needed:
        known = settings.known_sources()
        found["DEEDBOX_SOURCES"] = json.dumps({name: source.without_keys() for name, source in known.items()})
    return found
