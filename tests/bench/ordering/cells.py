"""One traffic under every policy and bound, and how the issue's target fares there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, Final, NamedTuple

from deedbox.shared.core.ordering import OrderingPolicy
from tests.bench.ordering.measures import Summary, Tally
from tests.bench.ordering.policies import Release, deedbox, fixed_wait, hindsight, no_wait
from tests.bench.ordering.traffic import Incoming, Kind

BOUNDS_S: Final = (2.0, 10.0, 60.0)
"""``DEEDBOX_HOLD_S``, and the fixed wait beside it."""

CHEAPER: Final = 10
"""The target: a mean added latency of at most one such part of the fixed wait's."""


class Policy(StrEnum):
    """Who orders."""

    NO_WAIT = "no wait"
    FIXED = "fixed wait"
    DEEDBOX = "Deedbox"
    HINDSIGHT = "hindsight"


class Subject(NamedTuple):
    """A policy with its bound in seconds (0: it has none)."""

    policy: Policy
    bound_s: float


def _deedbox(hold_s: float, stream: Sequence[Incoming]) -> list[Release]:
    return deedbox(stream, OrderingPolicy(hold_s=hold_s))


def _fixed_wait(wait_s: float, stream: Sequence[Incoming]) -> list[Release]:
    return fixed_wait(stream, wait_s)


def _hindsight(bound_s: float, stream: Sequence[Incoming]) -> list[Release]:
    return hindsight(stream, bound_s)


SUBJECTS: Final[Mapping[Subject, Callable[[Sequence[Incoming]], list[Release]]]] = {
    Subject(Policy.NO_WAIT, 0): no_wait,
    **{Subject(Policy.FIXED, bound_s): partial(_fixed_wait, bound_s) for bound_s in BOUNDS_S},
    **{Subject(Policy.DEEDBOX, bound_s): partial(_deedbox, bound_s) for bound_s in BOUNDS_S},
    **{Subject(Policy.HINDSIGHT, bound_s): partial(_hindsight, bound_s) for bound_s in BOUNDS_S},
}

Tallies = dict[Subject, Tally]


def tallied(requests: Iterable[Sequence[Incoming]]) -> Tallies:
    """Let every policy release the same deliveries."""
    found = {subject: Tally() for subject in SUBJECTS}
    for stream in requests:
        for subject, release in SUBJECTS.items():
            found[subject].add(release(stream))
    return found


class Cause(StrEnum):
    """Why a cell waits longer than the target allows."""

    NEEDED = "needed"
    IN_VAIN = "in vain"


EXPLAINED: Final[Mapping[Cause, str]] = {
    Cause.NEEDED: "predecessors do come that late: hindsight, which waits for nothing else, misses it as well",
    Cause.IN_VAIN: "held for predecessors that came after the bound or never, which nobody can know beforehand",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """One bound of one cell against the target."""

    order: bool
    """Whether there are no more inverted events than under the fixed wait."""
    median: Cause | None
    """Why not at least half of the events have no added latency; None if they do."""
    mean: Cause | None
    """Why the mean is above the allowed part of the fixed wait's; None if it is not."""

    @property
    def met(self) -> bool:
        """Whether all three are."""
        return self.order and not (self.median or self.mean)


@dataclass(frozen=True, slots=True)
class Cell:
    """One traffic: a kind, a pace and a strength of disorder."""

    kind: Kind
    pace: str
    strength: str
    summaries: Mapping[Subject, Summary]

    @property
    def unordered(self) -> Summary:
        """What comes in."""
        return self.summaries[Subject(Policy.NO_WAIT, 0)]

    def under(self, policy: Policy, bound_s: float) -> Summary:
        """Return one policy's summary."""
        return self.summaries[Subject(policy, bound_s)]

    def times_cheaper(self, bound_s: float) -> float:
        """Return the ratio of the means: fixed wait to Deedbox."""
        mean_s = self.under(Policy.DEEDBOX, bound_s).mean_s
        return self.under(Policy.FIXED, bound_s).mean_s / mean_s if mean_s else float("inf")

    def verdict(self, bound_s: float) -> Verdict:
        """Judge one bound."""
        ours, fixed, least = (
            self.under(policy, bound_s) for policy in (Policy.DEEDBOX, Policy.FIXED, Policy.HINDSIGHT)
        )
        allowed_s = fixed.mean_s / CHEAPER
        median = ours.p50_s == 0
        mean = ours.mean_s <= allowed_s
        return Verdict(
            order=ours.inverted <= fixed.inverted,
            median=None if median else _cause(needed=least.p50_s > 0),
            mean=None if mean else _cause(needed=least.mean_s > allowed_s),
        )

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "kind": str(self.kind),
            "pace": self.pace,
            "strength": self.strength,
            "no_wait": self.unordered.as_json(),
            "bounds": [self._bound_as_json(bound_s) for bound_s in BOUNDS_S],
        }

    def _bound_as_json(self, bound_s: float) -> dict[str, Any]:
        verdict = self.verdict(bound_s)
        causes = {"median": verdict.median, "mean": verdict.mean}
        return {
            "bound_s": bound_s,
            "deedbox": self.under(Policy.DEEDBOX, bound_s).as_json(),
            "fixed_wait": self.under(Policy.FIXED, bound_s).as_json(),
            "hindsight": self.under(Policy.HINDSIGHT, bound_s).as_json(),
            "times_cheaper": round(min(self.times_cheaper(bound_s), 1e9), 3),
            "no_more_inverted": verdict.order,
            "missed": {name: str(cause) for name, cause in causes.items() if cause},
        }


def _cause(*, needed: bool) -> Cause:
    return Cause.NEEDED if needed else Cause.IN_VAIN
