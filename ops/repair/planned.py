"""The writes of the API, each in two steps: a plan that changes nothing, and then what that plan named.

What is carried out is what the plan had fixed: letters by their ids, a replay with its span, a request by its key. So the
second step never does more than a person has seen; what has gone since is counted as gone. The work itself is done by the
same classes as for commands and pages.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from deedbox.ops.installation import Installation
from deedbox.ops.readmodels.timeline import key_of
from deedbox.ops.repair.catalog import choose
from deedbox.ops.repair.deadletters import DeadLetter, DeadLetters, Selection
from deedbox.ops.repair.pausing import Pauser, target_of
from deedbox.ops.repair.redrive import Redriver
from deedbox.ops.repair.replay import Replayer
from deedbox.ops.repair.replay_plan import order_of
from deedbox.ops.wording.times import span
from deedbox.shared.command_options import ReconcileOptions
from deedbox.shared.core.errors import DeedboxError, Unavailable
from deedbox.shared.core.routing import PauseKind, is_pattern
from deedbox.shared.pauses import PauseTarget
from deedbox.shared.records.replay_order import ReplayOrder
from deedbox.shared.records.subscriptions import announced
from deedbox.shared.redis.erasure import Asker, Eraser, demand_erasable
from deedbox.shared.redis.request_keys import Subject

LETTERS_MAX: Final = 1000
"""Of one plan; it says how many more fit."""

RECONCILE_S: Final = 25.0
"""Shorter than the 30 s after which many clients and proxies give up."""

Given = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan."""

    document: dict[str, Any]
    """For the person who decides."""
    fixed: dict[str, Any]
    """What will be carried out: JSON values."""


@dataclass(frozen=True, slots=True)
class Done:
    """What was done."""

    document: dict[str, Any]
    count: int
    """How many letters, calls or things: for the audit."""


@dataclass(frozen=True, slots=True)
class PlannedWrite:
    """One operation. Both steps raise DeedboxError for what makes no sense, Unavailable if something does not answer."""

    plan: Callable[[Installation, Given], Planned]
    carry_out: Callable[[Installation, Given, str], Done]
    """With what was fixed, and the name of who asks."""


def _letters(installation: Installation) -> DeadLetters:
    return DeadLetters(installation.scripts, installation.settings.retention)


def _redriver(installation: Installation) -> Redriver:
    return Redriver(installation.scripts, installation.bells.ring, installation.settings.retention)


def _pattern(given: Given) -> str:
    text = given.get("type") or ""
    if text and not is_pattern(text):
        raise DeedboxError("type is an exact event type, or a prefix such as signature_request_*")
    return str(text)


def _chosen(installation: Installation, given: Given) -> tuple[list[DeadLetter], int]:
    """Return the letters that are meant, and how many more fit."""
    chosen = Selection(
        tuple(dict.fromkeys(given.get("ids") or ())), given.get("reason") or "", given.get("action") or "",
        _pattern(given), given.get("source") or "", key_of(given.get("key") or ""), given.get("error") or "",
    )  # fmt: skip
    if not (chosen.ids or chosen.narrow or given.get("all")):
        raise DeedboxError("say which dead letters: ids, a filter, or all")
    if chosen.ids and (chosen.narrow or given.get("all")):
        raise DeedboxError("give either ids, or filters and all; not both")
    found = _letters(installation).select(chosen)
    return found[:LETTERS_MAX], max(0, len(found) - LETTERS_MAX)


def _plan_redrive(installation: Installation, given: Given) -> Planned:
    letters, left = _chosen(installation, given)
    plan = _redriver(installation).plan(letters)
    return Planned(plan.document() | {"left": left}, {"ids": [step.letter.id for step in plan.steps]})


def _redrive(installation: Installation, fixed: Given, _who: str) -> Done:
    redriver, wanted = _redriver(installation), list(fixed["ids"])
    there = _letters(installation).there(wanted)
    tally = redriver.carry_out(redriver.plan(there))
    tally.gone += len(wanted) - len(there)
    return Done(tally.document(), tally.redriven)


def _plan_discard(installation: Installation, given: Given) -> Planned:
    letters, left = _chosen(installation, given)
    ids = [letter.id for letter in letters]
    return Planned({"letters": ids, "left": left}, {"ids": ids})


def _discard(installation: Installation, fixed: Given, _who: str) -> Done:
    letters = _letters(installation)
    removed = letters.discard(letters.there(fixed["ids"]))
    return Done({"discarded": removed, "gone": len(fixed["ids"]) - removed}, removed)


def _replayer(installation: Installation) -> Replayer:
    return Replayer(installation.scripts, installation.bells.ring, installation.settings.retention)


def _plan_replay(installation: Installation, given: Given) -> Planned:
    request, since = given.get("request") or "", given.get("since") or ""
    if not request and not since:
        raise DeedboxError("say which events: request, or a time as since")
    # Fixed from here on, so that what arrives meanwhile stays out.
    times = span(since, given.get("until") or "", installation.now())
    order = order_of(given["actions"], request, given.get("source") or "", _pattern(given), times)
    plan = _replayer(installation).plan(order, choose(announced(installation.redis), order.actions))
    return Planned(plan.document(), {"order": order.dump().decode()})


def _replay(installation: Installation, fixed: Given, _who: str) -> Done:
    order = ReplayOrder.load(str(fixed["order"]).encode())
    if not order:
        raise DeedboxError("the plan cannot be read; ask for it again")
    replayer = _replayer(installation)
    tally = replayer.carry_out(replayer.plan(order, choose(announced(installation.redis), order.actions)))
    return Done(tally.document(), tally.appended)


def _target(given: Given) -> PauseTarget:
    return target_of(PauseKind(given["kind"]), given["name"], given.get("source") or "default")


def _plan_pause(installation: Installation, given: Given) -> Planned:
    target, pauser = _target(given), Pauser(installation.scripts)
    pauser.demand_known(target, installation.source_names())
    fixed = {"target": target.field, "why": given.get("why") or ""}
    return Planned(pauser.plan(target).document(), fixed)


def _plan_resume(installation: Installation, given: Given) -> Planned:
    target = _target(given)
    return Planned(Pauser(installation.scripts).plan(target).document(), {"target": target.field})


def _fixed_target(fixed: Given) -> PauseTarget:
    target = PauseTarget.of(str(fixed["target"]))
    if target is None:
        raise DeedboxError("the plan cannot be read; ask for it again")
    return target


def _pause(installation: Installation, fixed: Given, who: str) -> Done:
    paused = Pauser(installation.scripts).pause(_fixed_target(fixed), by=who, why=fixed["why"])
    return Done({"paused": paused}, int(paused))


def _resume(installation: Installation, fixed: Given, _who: str) -> Done:
    resumed = Pauser(installation.scripts).resume(_fixed_target(fixed))
    return Done({"resumed": resumed}, int(resumed))


def _eraser(installation: Installation) -> Eraser:
    return Eraser(installation.scripts, installation.documents, installation.settings.retention)


def _plan_erase(installation: Installation, given: Given) -> Planned:
    subject = Subject(given.get("source") or "default", key_of(given["request"]))
    demand_erasable(subject)
    found = _eraser(installation).find(subject)
    if not found.known:
        raise DeedboxError(f"nothing is known about {subject.ordering_key} of source {subject.source}")
    documents = bool(given.get("documents"))
    document = {"source": subject.source, "ordering_key": subject.ordering_key, "found": found.document()}
    fixed = {"source": subject.source, "key": subject.ordering_key, "documents": documents}
    return Planned(document | {"erases_documents": documents}, fixed)


def _erase(installation: Installation, fixed: Given, _who: str) -> Done:
    subject = Subject(fixed["source"], fixed["key"])
    removed = _eraser(installation).erase(subject, documents=fixed["documents"], by=Asker.OPERATOR)
    return Done(removed.document(), 1)


def _plan_reconcile(installation: Installation, given: Given) -> Planned:
    source = installation.settings.known_sources().get(given.get("source") or "default")
    if source is not None and not source.api_keys:
        raise DeedboxError(
            "This process has no API key, and so cannot ask the API: `deedbox up` and the files in deploy give none to ops. "
            "Run `deedbox reconcile` with the settings of a worker."
        )
    asked: dict[str, Any] = {
        "source": given.get("source") or "default", "since": given.get("since") or "24h", "reach": given.get("reach") or "30d",
    }  # fmt: skip
    return Planned(_ask_workers(ReconcileOptions(**asked, dry_run=True, as_json=True)), asked)


def _reconcile(_installation: Installation, fixed: Given, _who: str) -> Done:
    done = _ask_workers(ReconcileOptions(**fixed, yes=True, as_json=True, recorded=True))
    return Done(done, int(done["handed_over"]))


def _ask_workers(options: ReconcileOptions) -> dict[str, Any]:
    """Let a worker process list the account's requests, as the command does."""
    command = [sys.executable, "-m", "deedbox.workers", "reconcile", options.dump()]
    try:
        done = subprocess.run(
            command, env=dict(os.environ), capture_output=True, text=True, check=False, timeout=RECONCILE_S
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(
            f"Listing took more than {RECONCILE_S:g} s: the account has many requests, or its budget of calls is used "
            "up. Run `deedbox reconcile`, which waits."
        ) from None
    lines = done.stdout.splitlines()
    if done.returncode != 0 or not lines:
        said = (done.stderr.splitlines() or ["the worker process failed without a word"])[-1]
        raise DeedboxError(said.removeprefix("deedbox: "))
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def recorded(fixed: Given) -> dict[str, Any]:
    """Return what the audit repeats of a plan. Not the reason of a pause: a person may write anything there, a name too."""
    if "order" in fixed:
        order = ReplayOrder.load(str(fixed["order"]).encode())
        return order.asked() if order else {}
    return _fixed_target(fixed).asked() if "target" in fixed else dict(fixed)


WRITES: Final[Mapping[str, PlannedWrite]] = {
    "redrive": PlannedWrite(_plan_redrive, _redrive),
    "discard": PlannedWrite(_plan_discard, _discard),
    "replay": PlannedWrite(_plan_replay, _replay),
    "pause": PlannedWrite(_plan_pause, _pause),
    "resume": PlannedWrite(_plan_resume, _resume),
    "erase": PlannedWrite(_plan_erase, _erase),
    "reconcile": PlannedWrite(_plan_reconcile, _reconcile),
}
