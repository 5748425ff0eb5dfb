"""The actions of a simulated deployment: reliable, failing, slow, unordered, and one for internal events."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from random import Random
from typing import Final, NamedTuple

from deedbox.shared.core.attempts import AttemptPolicy
from deedbox.shared.core.gaps import SUSPECTED
from deedbox.shared.core.routing import unit_of
from deedbox.shared.records.subscriptions import Subscriptions
from deedbox.shared.redis import keys
from deedbox.workers.actions.interface import Context, Event, Reject, Retry
from deedbox.workers.actions.registry import RegisteredAction, Registry
from deedbox.workers.builtins.reconcile import NAME as RECONCILE
from tests.simulation import tracking
from tests.simulation.doubles import Limits
from tests.simulation.journal import LIMITED, Call, Journal
from tests.simulation.traffic import P

INTERNAL: Final = "deedbox.noted"


class Temper(NamedTuple):
    """How an action behaves."""

    lane: str
    patterns: tuple[str, ...]
    ordered: bool
    durations_s: tuple[float | None, ...]
    """None: no other task runs meanwhile."""
    failing: float
    """Share of calls that fail in some way."""


HANG_S: Final = inf
"""The call never returns, and its time limit does not reach it."""

KEEP_S: Final = (-2.0, -30.0)
"""Below zero: the call keeps the interpreter for so long; the longer one ends its process."""

TEMPERS: Final = {
    "steady": Temper("default", ("*",), True, (None,), 0.0),
    "flaky": Temper("default", (P + "*",), True, (0.0, 0.0, 0.5, 3.0), 0.4),
    "slow": Temper(
        "side",
        (P + "viewed", P + "signed"),
        True,
        (0.0, 0.0, 0.0, 0.2, 0.2, 3.0, 12.0, 20.0, HANG_S, *KEEP_S),
        0.1,
    ),
    "loose": Temper("side", (P + "signed", "callback_test"), False, (0.0, 0.5), 0.2),
    "noting": Temper("default", (INTERNAL,), False, (0.0,), 0.0),
    tracking.NAME: Temper("default", (P + "*",), True, (), 0.0),
    RECONCILE: Temper(keys.DOCUMENTS, (SUSPECTED,), False, (0.0, 0.5), 0.2),
}
MOVED: Final = {
    "flaky": TEMPERS["flaky"]._replace(lane="side", patterns=(P + "viewed", P + "signed", P + "sent")),
    "slow": TEMPERS["slow"]._replace(lane="default"),
    "loose": TEMPERS["loose"]._replace(lane=keys.DOCUMENTS),
}
"""What the next version of the deployment changes: the lanes of three actions, and what one of them wants."""

VERSIONS: Final = (TEMPERS, TEMPERS | MOVED)

BAD: Final = 0.2
"""Share of schedules with such calls: each costs a process or more, and many steps."""

TIMEOUT_S: Final = 15.0
"""Above the life of a lease: some calls need renewals, some run into this."""

ATTEMPTS: Final = 3

GIVE_UP_S: Final = 4.0
"""Shorter than many a pause, which must not count."""


class Acts:
    """Builds the registry. What a call does depends on the seed, the event and the attempt, on nothing else."""

    def __init__(self, seed: int, journal: Journal, limits: Limits) -> None:
        self._seed = seed
        self._journal = journal
        self._limits = limits
        self.tracking = tracking.Tracking(seed, journal, limits) if tracking.tracks(seed) else None
        """What keeps the read model in this schedule; None: nothing does."""
        self.registries = tuple(
            Registry(
                self._registered(name, temper)
                for name, temper in version.items()
                if name != tracking.NAME or self.tracking
            )
            for version in VERSIONS
        )
        self.synthesise: Callable[[Event], None] = lambda _event: None
        """What ``reconcile`` does about callbacks that are lost."""
        self.by_digest = {Subscriptions.of(each.describe()).digest: each for each in self.registries}
        """The registry of each declaration."""
        self._bad = (HANG_S, *KEEP_S) if Random(f"{seed}|bad").random() < BAD else ()

    def _registered(self, name: str, temper: Temper) -> RegisteredAction:
        def act(event: Event, context: Context) -> None:
            self._act(name, temper, event, context)

        rate, concurrency = LIMITED.get(name, (None, None))
        keeps_model = name == tracking.NAME
        return RegisteredAction(
            name, temper.patterns, (keeps_model and self.tracking) or act, temper.lane, TIMEOUT_S, temper.ordered,
            AttemptPolicy(ATTEMPTS, GIVE_UP_S), rate, concurrency, keeps_model=keeps_model,
        )  # fmt: skip

    def _act(self, name: str, temper: Temper, event: Event, context: Context) -> None:
        call = self._journal.begin(self._call(name, temper.lane, event, context))
        draw = Random(f"{self._seed}|{context.idempotency_key}|{context.attempt}|{context.retries}")
        try:
            bad = self._bad if name == "slow" else ()
            took_s = draw.choice((*temper.durations_s, *bad))
            self._take(took_s)
            if name == RECONCILE:
                self.synthesise(event)
            if draw.random() < temper.failing:
                raise draw.choice((Retry("later"), Retry("later", 0.5), Reject("no"), ValueError("broken")))
            self._journal.effects.append((name, call.fingerprint))
            if took_s is not None:
                self._limits.spend(0.0)
        finally:
            self._journal.end(call)
        if name == "steady" and event.type == P + "signed":
            context.emit(INTERNAL, {"of": call.fingerprint})

    def _take(self, took_s: float | None) -> None:
        match took_s:
            case None:
                return
            case _ if took_s == HANG_S:
                self._limits.hang()
            case _ if took_s < 0:
                self._limits.keep_the_interpreter(-took_s)
            case _:
                self._limits.spend(took_s)

    def _call(self, name: str, lane: str, event: Event, context: Context) -> Call:
        fingerprint = context.idempotency_key.partition(":")[0]
        unit = unit_of(
            name, f"{event.source}:{event.ordering_key}", fingerprint, ordered=TEMPERS[name].ordered
        )
        process = self._journal.scheduler.current.process
        token, disturbances = self._journal.claim_of(process, unit)
        return Call(
            name, fingerprint, context.idempotency_key, context.attempt, context.retries, event.late,
            unit, lane, process, token, disturbances, event.trust,
        )  # fmt: skip
