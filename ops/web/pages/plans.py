"""Writes that are confirmed on a page: what would happen, the command that does the same, and a button."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from flask import Blueprint, flash, redirect, render_template, request
from werkzeug.wrappers import Response

from deedbox.ops.installation import Installation
from deedbox.ops.readmodels.timeline import key_of
from deedbox.ops.repair.pausing import target_of
from deedbox.ops.web.api.writes import TwoSteps
from deedbox.ops.web.auth.access import Refused
from deedbox.ops.web.auth.guard import needs
from deedbox.ops.web.auth.session import own_path
from deedbox.ops.web.auth.tokens import Scope
from deedbox.ops.web.errors import OpsError
from deedbox.ops.web.pages.words import request_name
from deedbox.ops.wording import commands
from deedbox.ops.wording.output import counted
from deedbox.shared.core.errors import DeedboxError
from deedbox.shared.core.routing import PauseKind
from deedbox.shared.pauses import PauseTarget

Given = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Confirmation:
    """How a page asks for one operation."""

    verb: str
    command: Callable[[Given], str]
    done: Callable[[Given], str]
    """Of what was done: one sentence."""
    warning: str = ""
    danger: bool = False


def _source(given: Given) -> str:
    return str(given.get("source") or "default")


def _target(given: Given) -> PauseTarget:
    try:
        return target_of(PauseKind(given.get("kind", "")), given.get("name", ""), _source(given))
    except (ValueError, DeedboxError) as error:
        raise OpsError(Refused.BAD_REQUEST, str(error)) from None


CONFIRMATIONS: Final[Mapping[str, Confirmation]] = {
    "replay": Confirmation(
        "Replay",
        lambda given: commands.replay(given.get("request", ""), given.get("actions", []), _source(given)),
        lambda done: f"Replay {done['number']}: {counted(done['appended'], 'call')} queued.",
        "The actions run again on the stored events, each with a new idempotency key.",
    ),
    "pause": Confirmation(
        "Pause",
        lambda given: commands.pause(_target(given), given.get("why", "")),
        lambda done: "Paused." if done["paused"] else "It was paused before.",
        "No call of it begins until it is resumed. Its events wait, in order. A call that runs already ends as usual.",
    ),
    "resume": Confirmation(
        "Resume",
        lambda given: commands.resume(_target(given)),
        lambda done: "Resumed." if done["resumed"] else "It was not paused.",
        "What has waited runs, in its order.",
    ),
    "erase": Confirmation(
        "Erase",
        lambda given: commands.erase(given.get("request", ""), _source(given), documents=bool(given.get("documents"))),
        lambda done: f"Erased: {counted(done['events'], 'stored callback')}, {counted(done['letters'], 'dead letter')}, "
        f"{counted(len(done['documents']), 'file')}, and the state.",
        "This cannot be undone. Callbacks that still arrive for it will be ignored.",
        danger=True,
    ),
    "reconcile": Confirmation(
        "Reconcile",
        lambda given: commands.reconcile(_source(given), given.get("since", "")),
        lambda done: f"Handed to the workers: {counted(done['handed_over'], 'request')}.",
        "Workers read each request again from the API, and fetch missing documents, within the budget of calls.",
    ),
}  # fmt: skip

_ONE: Final = ("request", "source", "kind", "name", "why", "since")


def create_plan_pages(installation: Installation) -> Blueprint:
    """Return the routes."""
    blueprint = Blueprint("plans", __name__)

    @blueprint.get("/plan/<name>")
    @needs(Scope.WRITE)
    def plan(name: str) -> str:
        asked, given = _confirmation(name), _given()
        planned, token = TwoSteps(installation, name).plan(given)
        return render_template(
            "plan.html", name=name, asked=asked, about=_about(given), rows=rows(planned.document), token=token,
            command=asked.command(given), back=own_path(request.args.get("back")),
        )  # fmt: skip

    @blueprint.post("/plan/<name>")
    @needs(Scope.WRITE)
    def carry_out(name: str) -> Response:
        asked = _confirmation(name)
        done = TwoSteps(installation, name).carry_out(request.form.get("token", ""))
        flash(asked.done(done.document), "done")
        return redirect(own_path(request.form.get("back")), code=303)

    return blueprint


def _confirmation(name: str) -> Confirmation:
    try:
        return CONFIRMATIONS[name]
    except KeyError:
        raise OpsError(Refused.NOT_FOUND, "there is nothing at this address") from None


def _given() -> dict[str, Any]:
    """Read what a form asks for, as the API takes it. Empty fields are left out."""
    found: dict[str, Any] = {name: text for name in _ONE if (text := request.args.get(name, "").strip())}
    if actions := request.args.getlist("actions"):
        found["actions"] = actions
    if request.args.get("documents") == "1":
        found["documents"] = True
    return found


def _about(given: Given) -> str:
    if "kind" in given:
        return _target(given).told
    if "request" in given:
        return f"request {request_name(key_of(given['request']))}"
    return f"source {_source(given)}"


def rows(document: Given, of: str = "") -> list[tuple[str, str | float]]:
    """Write a plan as pairs of name and value, without what is empty; a float is a time, unix seconds.

    ``of``: whose counts these are, one per action.
    """
    found: list[tuple[str, str | float]] = []
    for name, value in document.items():
        said = f"{of} {name}" if of else _LABELS.get(name, name.replace("_", " "))
        if isinstance(value, Mapping):
            found += rows(value, "" if name in _PARTS else said)
        elif isinstance(value, list | tuple):
            found += [(said, ", ".join(map(str, value)))] if value else []
        elif isinstance(value, bool):
            found.append((said, "yes" if value else "no"))
        elif isinstance(value, float):
            found.append((said, value))
        elif value not in {None, "", 0}:
            found.append((said, str(value)))
    return found


_PARTS: Final = frozenset({"found", "paused"})
"""Their fields are told as the plan's own."""

_LABELS: Final = {
    "ordering_key": "request", "events": "stored events", "queued": "waiting calls of", "letters": "dead letters",
    "state": "order, timeline, state", "documents": "stored files", "erased_at": "erased before",
    "erases_documents": "removes the files", "runs": "calls of", "waiting": "calls that wait", "at": "since",
    "first_at": "first arrived", "last_at": "last arrived", "late": "flagged late", "expired": "left out: expired",
    "held": "left out: held", "set_aside": "left out: set aside", "erased": "left out: erased",
}  # fmt: skip
