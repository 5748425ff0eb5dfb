"""The OpenAPI 3.1 description, made from the operations and their typed models: nothing is written twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Final, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from deedbox.ops.web.api.operations import DocumentedAnswer, Operation
from deedbox.ops.web.auth.access import Refused
from deedbox.ops.web.auth.tokens import Scope
from deedbox.ops.web.errors import RETRY_AFTER_S, STATUS

_REF: Final = "#/components/schemas/{model}"
_ALWAYS: Final = (
    Refused.BAD_HOST, Refused.UNAUTHORIZED, Refused.WRONG_TOKEN, Refused.FORBIDDEN, Refused.TOO_MANY_TRIES,
    Refused.INTERNAL_ERROR,
)  # fmt: skip
"""What the guard and a bug may answer to any operation."""


class Problem(DocumentedAnswer):
    """Every error."""

    error: str
    """The reason, of a closed list."""
    detail: str
    """One sentence: what is wrong, and what to do."""
    oldest: str | None = None
    """With gone at /api/events: the oldest cursor that there is."""


class Description(DocumentedAnswer):
    """This document."""

    openapi: Literal["3.1.0"]


OPERATION = Operation(
    name="openapi",
    path="/api/openapi.json",
    summary="This description",
    description="OpenAPI 3.1.",
    answer=Description,
)


def describe(operations: Iterable[Operation]) -> dict[str, Any]:
    """Return the description."""
    rows = tuple(operations)
    schemas = _schemas(rows)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Deedbox status API",
            "version": version("deedbox"),
            "summary": "Where signature requests stand, their documents, the clean stream of events, and repairs.",
            "description": (
                "Every operation needs `Authorization: Bearer <token>` with the scope that it names. A program on the "
                "machine itself gets the stages and counters of /api/queues without one."
            ),
        },
        "paths": {row.path: {row.method.lower(): _operation(row)} for row in rows},
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": _scopes()}},
        },
    }


def _scopes() -> str:
    return f"A token of DEEDBOX_OPS_TOKENS; scopes: {', '.join(Scope)}."


def _models(rows: tuple[Operation, ...]) -> list[type[BaseModel]]:
    found: list[type[BaseModel]] = [Problem]
    found += [row.answer for row in rows if row.answer is not None]
    return found


def _schemas(rows: tuple[Operation, ...]) -> dict[str, Any]:
    models = [(model, "serialization") for model in _models(rows)]
    models += [(model, "validation") for model in dict.fromkeys(each for row in rows for each in row.body)]
    _, document = models_json_schema(models, ref_template=_REF)  # type: ignore[arg-type]
    found: dict[str, Any] = document["$defs"]
    problem = found["Problem"]
    problem["properties"]["error"]["enum"] = [str(reason) for reason in Refused]
    problem["required"] = ["error", "detail"]
    problem["additionalProperties"] = False
    return found


def _operation(row: Operation) -> dict[str, Any]:
    return {
        "operationId": row.name,
        "summary": row.summary,
        "description": f"{row.description}\n\nScope: {row.scope}.",
        "security": [*([{}] if row.impersonal else []), {"token": []}],
        "parameters": [*_path_parameters(row), *_query_parameters(row), *_header_parameters(row)],
        **_body(row),
        "responses": _responses(row),
    }


def _body(row: Operation) -> dict[str, Any]:
    if not row.body:
        return {}
    forms = [{"$ref": _REF.format(model=model.__name__)} for model in row.body]
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": {"anyOf": forms}}}}}


def _path_parameters(row: Operation) -> Iterable[dict[str, Any]]:
    for name, schema in row.path_parameters.items():
        yield _parameter("path", name, schema)


def _query_parameters(row: Operation) -> Iterable[dict[str, Any]]:
    if row.query is None:
        return
    for name, schema in row.query.model_json_schema()["properties"].items():
        if schema.get("type") == "object":
            continue  # names that a client chooses: the operation's own text says how
        yield _parameter("query", name, schema)


def _given(shape: Mapping[str, Any]) -> dict[str, Any]:
    """Leave null out: a parameter without a value is a parameter that is not given."""
    found = {key: value for key, value in shape.items() if not (key == "default" and value is None)}
    if "anyOf" in found:
        choices = [each for each in found["anyOf"] if each != {"type": "null"}]
        found = {key: value for key, value in found.items() if key != "anyOf"}
        return {**found, **choices[0]} if len(choices) == 1 else {**found, "anyOf": choices}
    return found


def _header_parameters(row: Operation) -> Iterable[dict[str, Any]]:
    for name, schema in row.headers.items():
        yield _parameter("header", name, schema)


def _parameter(where: str, name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    shape = {key: value for key, value in schema.items() if key not in {"description", "title"}}
    return {
        "name": name, "in": where, "required": where == "path", "description": _line(schema), "schema": _given(shape),
    }  # fmt: skip


def _line(schema: Mapping[str, Any]) -> str:
    return " ".join(str(schema.get("description", "")).split())


def _responses(row: Operation) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if row.answer is not None:
        content["application/json"] = {"schema": {"$ref": _REF.format(model=row.answer.__name__)}}
    for media_type, meaning in row.media.items():
        content[media_type] = {"schema": {"type": "string", "description": meaning}}
    found: dict[str, Any] = {"200": {"description": row.summary, "content": content}}
    for status, meaning in row.statuses.items():
        found[str(status)] = {"description": meaning} | (
            {"content": content} if status == HTTPStatus.PARTIAL_CONTENT else {}
        )
    reasons: dict[HTTPStatus, list[Refused]] = {}
    for reason in (*_ALWAYS, *row.refusals):
        reasons.setdefault(STATUS[reason], []).append(reason)
    for code, refusals in sorted(reasons.items()):
        found[str(int(code))] = _problem(refusals)
    return found


def _problem(refusals: list[Refused]) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "description": " or ".join(refusals),
        "content": {"application/json": {"schema": {"$ref": _REF.format(model=Problem.__name__)}}},
    }
    if any(reason in RETRY_AFTER_S for reason in refusals):
        answer["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    return answer
