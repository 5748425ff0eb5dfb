"""The accounts' API budgets: what is left of them this minute."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from deedbox.ops.installation import Installation
from deedbox.shared.redis import keys, script_calls
from deedbox.shared.settings import BUDGET_WINDOW_S


@dataclass(frozen=True, slots=True)
class BudgetUse:
    """One kind of API calls of one source."""

    source: str
    kind: str
    per_minute: int
    left: int


def accounts(installation: Installation) -> dict[str, str]:
    """Return source to account, as far as they are known: ops needs no key."""
    sources = installation.settings.known_sources()
    return {name: source.account for name, source in sources.items() if source.account}


def left(installation: Installation, of: Mapping[str, str]) -> Iterator[BudgetUse]:
    """Return what is left of each account's budgets; ``of``: source to account. Raises Unavailable."""
    rates = installation.settings.call_budgets
    asked = [(source, kind, rate) for source in of for kind, rate in rates.items()]
    if not asked:
        return
    used = script_calls.budget_used(
        installation.scripts,
        window_s=BUDGET_WINDOW_S,
        budgets=[(keys.budget(kind, of[source], "calls"), rate) for source, kind, rate in asked],
    )
    for (source, kind, rate), count in zip(asked, used, strict=True):
        yield BudgetUse(source, kind, rate, max(0, rate - count))
