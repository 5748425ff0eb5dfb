"""``POST /api/operations/<name>``: a plan and its token, then with that token what the plan named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from flask import jsonify, request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from werkzeug.wrappers import Response

from deedbox.ops.installation import Installation
from deedbox.ops.repair.pausing import WHY_MAX_CHARS
from deedbox.ops.repair.planned import LETTERS_MAX, WRITES, Done, Planned, recorded
from deedbox.ops.sessions import PLAN_S, plans
from deedbox.ops.web.api.operations import SOURCE_PATTERN, DocumentedAnswer, Operation
from deedbox.ops.web.auth.access import Refused
from deedbox.ops.web.auth.guard import auditing, caller
from deedbox.ops.web.auth.tokens import Scope
from deedbox.ops.web.errors import OpsError
from deedbox.shared.audit import AuditedOperation
from deedbox.shared.core.errors import DeedboxError, RedisAway, Unavailable

Name = Annotated[str, Field(min_length=1, max_length=200)]
SourceName = Annotated[str, Field(pattern=SOURCE_PATTERN)]
Time = Annotated[str, Field(min_length=1, max_length=40)]


class WriteBody(BaseModel):
    """What is asked for; or only the token of a plan, to carry it out."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


class CarryOut(WriteBody):
    """The second step."""

    token: Annotated[str, Field(min_length=1, max_length=100)]
    """Of a plan of the last ten minutes. It can be used once, by who asked for the plan."""


class ChosenLetters(WriteBody):
    """Dead letters by id, or all that fit."""

    ids: Annotated[list[Name], Field(max_length=LETTERS_MAX)] | None = None
    reason: Name | None = None
    action: Name | None = None
    type: Name | None = None
    """An event type, or a prefix with *."""
    source: SourceName | None = None
    key: Name | None = None
    """A signature_request_id, or a key such as template/c26b8a16."""
    error: Name | None = None
    """A kind of error, such as KeyError."""
    all: bool = False
    """Every letter."""


class ReplayAsked(WriteBody):
    """Stored events, and the actions that run on them again."""

    actions: Annotated[list[Name], Field(min_length=1, max_length=100)]
    request: Name | None = None
    since: Time | None = None
    """Events that arrived since then: 2h, 7d, or a time."""
    until: Time | None = None
    type: Name | None = None
    source: SourceName | None = None


class ResumeAsked(WriteBody):
    """What goes on."""

    kind: Literal["action", "destination", "lane", "source", "request"]
    name: Name
    source: SourceName | None = None
    """Of a request."""


class PauseAsked(ResumeAsked):
    """What waits."""

    why: Annotated[str, Field(max_length=WHY_MAX_CHARS)] | None = None


class EraseAsked(WriteBody):
    """A signature request or a fax."""

    request: Name
    source: SourceName | None = None
    documents: bool = False
    """Remove the stored documents too."""


class ReconcileAsked(WriteBody):
    """What is compared with the API."""

    source: SourceName | None = None
    since: Time | None = None
    """Since when callbacks may be missing: 90min, 24h, 7d, or a time. Default: 24h."""
    reach: Time | None = None
    """How much older than that a request may be. Default: 30d."""


class WriteAnswer(DocumentedAnswer):
    """A plan, or what was done."""

    operation: str
    plan: dict[str, Any] | None
    """What would be done; nothing is changed yet. Null in the second step."""
    token: str | None
    """Carries out this plan."""
    expires_in_s: int | None
    done: dict[str, Any] | None
    """What was done; null in the first step."""


_ASKED: Final[Mapping[str, tuple[type[WriteBody], str]]] = {
    "redrive": (ChosenLetters, "Send dead letters back into their queues"),
    "discard": (ChosenLetters, "Remove dead letters for good"),
    "replay": (ReplayAsked, "Run actions again on stored events"),
    "pause": (PauseAsked, "Let no call of something begin"),
    "resume": (ResumeAsked, "End a pause"),
    "erase": (EraseAsked, "Remove what is stored about one request"),
    "reconcile": (ReconcileAsked, "Ask the API what was missed, and repair it"),
}

OPERATIONS: Final = tuple(
    Operation(
        name=name,
        path=f"/api/operations/{name}",
        summary=summary,
        description=(
            "The first request says what would be done, and changes nothing; its answer has a token. A second request "
            'with {"token": …} alone carries out what this plan named, and nothing more.'
        ),
        answer=WriteAnswer,
        method="POST",
        body=(asked, CarryOut),
        scope=Scope.WRITE,
        refusals=(Refused.BAD_REQUEST, Refused.CROSS_SITE, Refused.GONE, Refused.UNAVAILABLE),
    )
    for name, (asked, summary) in _ASKED.items()
)


@dataclass(frozen=True, slots=True)
class TwoSteps:
    """One operation as programs and pages ask for it: a plan with its token, and what carries it out.

    Both steps raise OpsError, Unavailable.
    """

    installation: Installation
    name: str

    def plan(self, given: Mapping[str, Any]) -> tuple[Planned, str]:
        """Return the plan, and the token of the second step."""
        values = _checked(_ASKED[self.name][0], given).model_dump(exclude_none=True)
        with _as_answers():
            planned = WRITES[self.name].plan(self.installation, values)
        kept = {"operation": self.name, "who": caller().name, "fixed": planned.fixed}
        return planned, plans(self.installation.settings).create(kept)

    def carry_out(self, token: str) -> Done:
        """Do what the plan of a token named, once."""
        kept = plans(self.installation.settings)
        found = kept.read(token)
        if (
            found is None
            or (found["operation"], found["who"]) != (self.name, caller().name)
            or kept.take(token) is None
        ):
            raise OpsError(
                Refused.GONE, "that token is of no plan of yours that can still be carried out; ask again"
            )
        asked = recorded(found["fixed"])
        audit = auditing(self.installation).operation(AuditedOperation(self.name), **asked)
        with _as_answers(), audit as tally:
            done = WRITES[self.name].carry_out(self.installation, found["fixed"], caller().name)
            tally.count = done.count
        return done


@contextmanager
def _as_answers() -> Iterator[None]:
    try:
        yield
    except (Unavailable, RedisAway):
        raise
    except DeedboxError as error:
        raise OpsError(Refused.BAD_REQUEST, str(error)) from None


def write_view(installation: Installation, name: str) -> Callable[[], Response]:
    """Return the view of one operation."""
    steps = TwoSteps(installation, name)
    nothing = dict.fromkeys(("plan", "token", "expires_in_s", "done"))

    def view() -> Response:
        given = request.get_json(silent=True, force=True)
        if not isinstance(given, dict):
            raise OpsError(Refused.BAD_REQUEST, "the body is no JSON object")
        if "token" in given:
            done = steps.carry_out(_checked(CarryOut, given).token)
            return jsonify({"operation": name, **nothing, "done": done.document})
        planned, token = steps.plan(given)
        asked = {"plan": planned.document, "token": token, "expires_in_s": int(PLAN_S)}
        return jsonify({"operation": name, **nothing, **asked})

    return view


def _checked(model: type[Any], given: Mapping[str, Any]) -> Any:
    try:
        return model.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        name = "".join(each for each in str((*first["loc"], "the body")[0]) if each.isalnum() or each == "_")[
            :40
        ]
        if first["type"] == "extra_forbidden":
            raise OpsError(
                Refused.BAD_REQUEST, f"{name} is no field here; use {', '.join(model.model_fields)}"
            ) from None
        message = str(first["msg"])
        raise OpsError(
            Refused.BAD_REQUEST, f"{name} is not usable: {message[:1].lower()}{message[1:]}"
        ) from None
