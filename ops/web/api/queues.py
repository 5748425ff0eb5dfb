"""``GET /api/queues``: depth and oldest age of every stage, for dashboards and autoscalers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from flask import jsonify
from pydantic import JsonValue
from werkzeug.wrappers import Response

from deedbox.ops.installation import Installation
from deedbox.ops.readmodels import status
from deedbox.ops.readmodels.attention import AttentionKind, Severity
from deedbox.ops.web.api.operations import DocumentedAnswer, Operation
from deedbox.ops.web.auth import guard
from deedbox.ops.web.auth.access import ANYBODY, Refused

FIGURES: Final = ("stages", "counters")
"""What nobody is named in: the rest holds ids of requests and events, names of hosts, and sentences about them."""


class StageAnswer(DocumentedAnswer):
    """One stage."""

    depth: int
    """How many callbacks, events or entries lie there."""
    oldest_age_s: float | None
    """Since when the oldest of them does, in seconds; null if none does, or if it is not known."""


class WarningAnswer(DocumentedAnswer):
    """One thing that needs a person."""

    kind: AttentionKind
    """What it is about."""
    severity: Severity
    """urgent: callbacks wait or may be lost. notice: nothing waits behind it."""
    about: str
    """Which one of its kind, such as the name of a lane; may be empty."""
    text: str
    """One sentence for people."""


class QueuesAnswer(DocumentedAnswer):
    """What ``deedbox status --json`` prints. ``stages`` is a contract; the rest may grow.

    Without a token, a program on the machine of ops gets ``stages`` and ``counters`` only.
    """

    stages: dict[str, StageAnswer]
    """broker, claimed, inbox, held, one lane:<name> per lane, retrying, dead, spool."""
    counters: dict[str, int]
    """Totals since the installation began."""
    workers: tuple[JsonValue, ...] = ()
    """Living workers, and what each is doing."""
    waiting: tuple[JsonValue, ...] = ()
    """What waits for a retry, the next first."""
    unknown_calls: tuple[JsonValue, ...] = ()
    """Calls of actions that no module in DEEDBOX_ACTIONS declares."""
    restarts: tuple[JsonValue, ...] = ()
    """Processes of `deedbox up` that ended in the last ten minutes, the latest first."""
    warnings: tuple[WarningAnswer, ...] = ()
    """What needs a person, the most urgent first."""


OPERATION = Operation(
    name="queues",
    path="/api/queues",
    summary="Depth and oldest age of every stage",
    description="The same document as `deedbox status --json`; without a token its figures only.",
    impersonal=True,
    answer=QueuesAnswer,
    refusals=(Refused.UNAVAILABLE,),
)


def queues(installation: Installation) -> Callable[[], Response]:
    """Return the view."""

    def view() -> Response:
        document = status.look(installation).document()
        if guard.caller() is ANYBODY:
            document = {name: document[name] for name in FIGURES}
        return jsonify(document)

    return view
