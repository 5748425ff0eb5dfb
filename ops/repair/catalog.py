"""The actions that workers with this environment register: what an operator may choose from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from deedbox.ops.supervise.processes import described
from deedbox.ops.wording.action_names import meant
from deedbox.shared.core.errors import SettingsError
from deedbox.shared.core.routing import matches, unit_of


@dataclass(frozen=True, slots=True)
class KnownAction:
    """One registered action."""

    name: str
    patterns: tuple[str, ...]
    lane: str
    ordered: bool = True

    def wants(self, event_type: str) -> bool:
        """Return whether the action subscribes to a type."""
        return any(matches(pattern, event_type) for pattern in self.patterns)

    def unit(self, stream: str, fingerprint: str) -> str:
        """Return the unit of work that an event belongs to."""
        return unit_of(self.name, stream, fingerprint, ordered=self.ordered)


@dataclass(frozen=True, slots=True)
class Catalog:
    """The registered actions, by name."""

    actions: Mapping[str, KnownAction]

    @classmethod
    def learn(cls, environ: Mapping[str, str]) -> Self:
        """Ask the workers. Raises SettingsError with their sentence."""
        rows = described(environ)["actions"]
        return cls(
            {
                row["name"]: KnownAction(row["name"], tuple(row["types"]), row["lane"], bool(row["ordered"]))
                for row in rows
            }
        )

    def choose(self, names: Iterable[str]) -> tuple[KnownAction, ...]:
        """Return the actions of these names. Raises SettingsError for one that there is not."""
        chosen = []
        for name in dict.fromkeys(names):
            if name not in self.actions:
                raise SettingsError(self._unknown(name))
            chosen.append(self.actions[name])
        return tuple(chosen)

    def _unknown(self, name: str) -> str:
        known = ", ".join(sorted(self.actions)) or "none"
        hint = meant(name, self.actions, {each.lane for each in self.actions.values()})
        return " ".join(
            part
            for part in (
                f"There is no action {name}; the registered ones are {known}.",
                hint,
                "DEEDBOX_ACTIONS must be set here as it is for the workers.",
            )
            if part
        )
