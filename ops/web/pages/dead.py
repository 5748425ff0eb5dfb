"""The dead letters: list, one of them, and the two ways out, each shown before it is done."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response

from deedbox.ops.installation import Installation
from deedbox.ops.repair.causes import causes
from deedbox.ops.repair.deadletters import DeadLetter, DeadLetters
from deedbox.ops.repair.redrive import RedrivePlan, Redriver, Route
from deedbox.ops.web.auth.access import Refused
from deedbox.ops.web.auth.guard import auditing, needs
from deedbox.ops.web.auth.tokens import Scope
from deedbox.ops.web.errors import OpsError
from deedbox.ops.web.pages import letters as chosen
from deedbox.ops.web.pages.letters import Wanted
from deedbox.ops.wording import commands, letters_page
from deedbox.ops.wording.output import counted
from deedbox.shared.audit import AuditedOperation
from deedbox.shared.printable import printable
from deedbox.shared.redis.request_keys import Holdings, Subject

BODY_MAX_CHARS: Final = 100_000
SELECT: Final = "Select letters first."


class Act(StrEnum):
    """The two ways out."""

    REDRIVE = "redrive"
    DISCARD = "discard"


@dataclass(frozen=True, slots=True)
class Pages:
    """The views, over one installation."""

    installation: Installation

    @property
    def letters(self) -> DeadLetters:
        """The dead letters."""
        return DeadLetters(self.installation.scripts, self.installation.settings.retention)

    @property
    def redriver(self) -> Redriver:
        """What sends them back."""
        return Redriver(
            self.installation.scripts, self.installation.bells.ring, self.installation.settings.retention
        )

    def listing(self) -> str:
        """List the letters that match."""
        wanted = self._wanted(request.args)
        found = chosen.listing(self.letters, wanted)
        return render_template(
            "dead.html",
            wanted=wanted,
            found=found,
            survey=chosen.survey(self.letters) if found.total else None,
            now=self.installation.now(),
            per_page=chosen.PER_PAGE,
            act_max=chosen.ACT_MAX,
        )

    def one(self, letter_id: str) -> str:
        """Show one letter, without what names people."""
        letter = self._letter(letter_id)
        details = letters_page.details(letter, self.letters.traceback(letter), masking=True)
        plan = self.redriver.plan([letter])
        return render_template(
            "letter.html", letter=letter, details=details, plan=plan, labels=letters_page.LABELS,
            others=self._others(letter), now=self.installation.now(),
        )  # fmt: skip

    def payload(self, letter_id: str) -> str:
        """Show a letter's callback, because a person who may write asked for it."""
        letter = self._letter(letter_id)
        with auditing(self.installation).operation(AuditedOperation.SHOW_PAYLOAD, letter=letter.id) as done:
            body = self.letters.body(letter)
            done.count = 1
        return render_template("payload.html", letter=letter, body=None if body is None else _readable(body))

    def plan(self) -> str | Response:
        """Say what an act would do; nothing is changed. With nothing selected, go back to where the person was."""
        act, wanted = _act(request.args.get("do", "")), self._wanted(request.args)
        if not wanted.selects:
            flash(SELECT, "notice")
            return redirect(url_for("dead.listing", **wanted.place), code=303)
        meant = chosen.meant(self.letters, wanted)
        plan = self.redriver.plan(meant.letters) if act is Act.REDRIVE else RedrivePlan()
        going = [step.letter for step in plan.steps] if act is Act.REDRIVE else meant.letters
        return render_template(
            "dead_plan.html",
            act=act,
            meant=meant,
            going=going,
            causes=causes(going),
            command=commands.letters(str(act), meant.wanted.selection),
            late=sum(step.late for step in plan.steps),
            to_bridge=sum(step.route is Route.BRIDGE for step in plan.steps),
            refused=Counter(each.why for each in plan.refused).most_common(),
            here=request.full_path,
        )

    def act(self) -> Response:
        """Do what was confirmed, and come back to the list."""
        act, wanted = _act(request.form.get("do", "")), self._wanted(request.form)
        if not wanted.selects:
            raise OpsError(Refused.BAD_REQUEST, SELECT)
        if wanted.all and wanted.upto is None:
            raise OpsError(Refused.BAD_REQUEST, "all needs upto, a time: later letters were not on the page")
        meant = chosen.meant(self.letters, wanted)
        with auditing(self.installation).operation(
            AuditedOperation(act), **meant.wanted.selection.asked()
        ) as done:
            if act is Act.DISCARD:
                done.count = count = self.letters.discard(meant.letters)
                said = f"Discarded {counted(count, 'dead letter')}."
            else:
                tally = self.redriver.carry_out(self.redriver.plan(meant.letters))
                done.count = tally.redriven
                said = f"Redriven: {counted(tally.redriven, 'dead letter')}."
                if tally.refused:
                    said += f" {len(tally.refused)} could not be redriven and are still here."
        if meant.left:
            said += f" {meant.left} more match; do it again for them."
        flash(said, "done")
        return redirect(url_for("dead.listing", **wanted.place), code=303)

    def _wanted(self, values: MultiDict[str, str]) -> Wanted:
        return Wanted.of(values, self.installation.now() if values.get("since") else 0.0)

    def _others(self, letter: DeadLetter) -> int:
        """Count the other letters of the same request."""
        if not letter.key:
            return 0
        subject = Subject(letter.source, letter.key)
        return len(Holdings(self.installation.redis).letters(subject).keys() - {letter.id})

    def _letter(self, letter_id: str) -> DeadLetter:
        for letter in self.letters.there([letter_id]):
            return letter
        raise OpsError(
            Refused.NOT_FOUND, f"there is no dead letter {letter_id}; it was redriven or discarded"
        )


def create_dead_pages(installation: Installation) -> Blueprint:
    """Return the routes."""
    blueprint, pages = Blueprint("dead", __name__), Pages(installation)
    blueprint.get("/dead")(pages.listing)
    blueprint.get("/dead/plan")(pages.plan)
    blueprint.get("/dead/<letter_id>")(pages.one)

    @blueprint.get("/dead/<letter_id>/payload")
    @needs(Scope.WRITE)
    def payload(letter_id: str) -> str:
        return pages.payload(letter_id)

    @blueprint.post("/dead")
    @needs(Scope.WRITE)
    def act() -> Response:
        return pages.act()

    return blueprint


def _act(text: str) -> Act:
    try:
        return Act(text)
    except ValueError:
        raise OpsError(Refused.BAD_REQUEST, "what to do is missing: redrive or discard") from None


def _readable(body: bytes) -> str:
    try:
        text = json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        text = body.decode("utf-8", "backslashreplace")
    return printable(text if len(text) <= BODY_MAX_CHARS else text[:BODY_MAX_CHARS] + "\n…")
