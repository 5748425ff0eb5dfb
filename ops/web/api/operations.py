"""What the API consists of: one row per operation, from which routes and the OpenAPI description are made."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar

from flask import Blueprint, request
from pydantic import BaseModel, ConfigDict, ValidationError

from deedbox.ops.web.auth.access import Refused
from deedbox.ops.web.auth.guard import impersonal, needs
from deedbox.ops.web.auth.tokens import Scope
from deedbox.ops.web.errors import OpsError

REQUEST_ID: Final = {
    "type": "string",
    "pattern": "^[A-Za-z0-9_-]{1,128}$",
    "description": "The signature_request_id.",
}
SOURCE_PATTERN: Final = r"^[A-Za-z0-9_-]{1,64}$"


class Query(BaseModel):
    """Query parameters of an operation: typed, and nothing that is not listed (a typo must not go unnoticed)."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class DocumentedAnswer(BaseModel):
    """An answer's body."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True, from_attributes=True)


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation."""

    name: str
    """Name of the endpoint in the blueprint, and the operationId."""
    path: str
    """As OpenAPI writes it: ``/api/requests/{request_id}``."""
    summary: str
    description: str
    answer: type[DocumentedAnswer] | None
    """Body of the JSON answer; None if it has none."""
    query: type[Query] | None = None
    path_parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    headers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Request headers that matter: schema and description."""
    method: Literal["GET", "POST"] = "GET"
    body: tuple[type[BaseModel], ...] = ()
    """Forms of the JSON body of a POST."""
    scope: Scope = Scope.READ
    impersonal: bool = False
    """Programs of this machine get figures, and nothing else, without a token."""
    media: Mapping[str, str] = field(default_factory=dict)
    """Other media types of the answer, with what their text is."""
    statuses: Mapping[int, str] = field(default_factory=dict)
    """Other answers that are no errors."""
    refusals: tuple[Refused, ...] = ()
    """Errors besides those that every operation may answer."""

    @property
    def rule(self) -> str:
        """The path as Flask writes it."""
        return re.sub(r"\{(\w+)\}", r"<\1>", self.path)


def register(blueprint: Blueprint, operation: Operation, view: Callable[..., Any]) -> None:
    """Add an operation's route."""
    marked = needs(operation.scope)(view)
    blueprint.add_url_rule(
        operation.rule,
        operation.name,
        impersonal(marked) if operation.impersonal else marked,
        methods=[operation.method],
    )


NOTHING: Final[Mapping[str, str]] = {}

AnyQuery = TypeVar("AnyQuery", bound=Query)


def query(model: type[AnyQuery], prefixed: Mapping[str, str] = NOTHING) -> AnyQuery:
    """Return the request's query parameters. Raises OpsError that names the parameter and the fix.

    ``prefixed``: fields that hold what begins with a prefix, by its name without that.
    """
    values: dict[str, Any] = {name: {} for name in prefixed}
    for name, given in request.args.lists():
        info = model.model_fields.get(name)
        home = next((field for field, prefix in prefixed.items() if name.startswith(prefix)), None)
        if name in prefixed:
            raise OpsError(Refused.BAD_REQUEST, f"{name} is given as {prefixed[name]}NAME=VALUE")
        if info is not None and "tuple" in str(info.annotation):
            values[name] = given
        elif len(given) > 1:
            raise OpsError(Refused.BAD_REQUEST, f"{_shown(name)} is given more than once; give it once")
        elif home is not None:
            values[home][name.removeprefix(prefixed[home])] = given[0]
        else:
            values[name] = given[0]
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise OpsError(Refused.BAD_REQUEST, _sentence(error, model)) from None


def _sentence(error: ValidationError, model: type[Query]) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    name = _shown(str(first["loc"][0]))
    if first["type"] == "extra_forbidden":
        return f"{name} is no parameter here; use {', '.join(model.model_fields)}"
    message = str(first["msg"]).removeprefix("Value error, ")
    return f"{name} is not usable: {message[:1].lower()}{message[1:]}"


def _shown(name: str) -> str:
    """Bound what an answer repeats of a request."""
    return re.sub(r"[^A-Za-z0-9_-]", "?", name)[:40] or "a parameter without a name"
