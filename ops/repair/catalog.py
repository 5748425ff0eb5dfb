"""The actions that an operator may choose from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from deedbox.ops.supervise.processes import described
from deedbox.ops.wording.action_names import meant
from deedbox.shared.core.errors import SettingsError
from deedbox.shared.records.subscriptions import Subscription, Subscriptions


def learned(environ: Mapping[str, str]) -> Subscriptions:
    """Return what workers with this environment register. Raises SettingsError with their sentence."""
    return Subscriptions.of(described(environ)["actions"])


def choose(known: Subscriptions, names: Iterable[str]) -> tuple[Subscription, ...]:
    """Return the actions of these names. Raises SettingsError for one that there is not."""
    actions = {each.name: each for each in known.actions}
    chosen = dict.fromkeys(names)
    for name in chosen:
        if name not in actions:
            there = ", ".join(sorted(actions)) or "none"
            hint = meant(name, actions, known.lanes)
            raise SettingsError(
                f"There is no action {name}; the registered ones are {there}. {hint}{' ' if hint else ''}"
                "DEEDBOX_ACTIONS must be set here as it is for the workers."
            )
    return tuple(actions[name] for name in chosen)
