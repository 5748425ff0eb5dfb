"""``GET /api/queues``: depth and oldest age of every stage, for dashboards and autoscalers."""

from __future__ import annotations

from collections.abc import Callable

from flask import jsonify
from pydantic import JsonValue
from werkzeug.wrappers import Response

from deedbox.ops.installation import Installation
from deedbox.ops.readmodels import status
from deedbox.ops.readmodels.attention import AttentionKind, Severity
from deedbox.ops.web.api.operations import DocumentedAnswer, Operation
from deedbox.ops.web.auth.access import Refused


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
    """What ``deedbox status --json`` prints. ``stages`` is a contract; the rest may grow."""

    stages: dict[str, StageAnswer]
    """broker, claimed, inbox, held, one lane:<name> per lane, retrying, dead, spool."""
    workers: list[JsonValue]
    """Living workers, and what each is doing."""
    counters: dict[str, int]
    """Totals since the installation began."""
    waiting: list[JsonValue]
    """What waits for a retry, the next first."""
    unknown_calls: list[JsonValue]
    """Calls of actions that no module in DEEDBOX_ACTIONS declares."""
    restarts: list[JsonValue]
    """Processes of `deedbox up` that ended in the last ten minutes, the latest first."""
    warnings: list[WarningAnswer]
    """What needs a person, the most urgent first."""


OPERATION = Operation(
    name="queues",
    path="/api/queues",
    summary="Depth and oldest age of every stage",
    description="The same document as `deedbox status --json`.",
    answer=QueuesAnswer,
    refusals=(Refused.UNAVAILABLE,),
)


def queues(installation: Installation) -> Callable[[], Response]:
    """Return the view."""

    def view() -> Response:
        return jsonify(status.look(installation).document())

    return view
