"""The API is what its OpenAPI description says, for whatever a client may send."""

from __future__ import annotations

import re
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from jsonschema_rs import Draft202012Validator
from redis import Redis
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import ignored_auth, negative_data_rejection, positive_data_acceptance

from deedbox.ops.web.api.blueprint import OPERATIONS
from deedbox.ops.web.app import create_app
from deedbox.shared.documents import DocumentStore, FileTree
from deedbox.shared.settings import Settings
from tests.component.ops_web.asking import PDF, arrive, get, remember, tracking
from tests.component.ops_web.conftest import TOKEN, Ops
from tests.component.workers.rig import sent, viewed

pytestmark = pytest.mark.real_redis

BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def api(ops: Ops, state: Redis, data_dir: Path) -> Any:
    """Return the description as the running process serves it; there is a request with a document."""
    arrive(tracking(state), sent(0, title="Lease"), viewed(5))
    remember(state, DocumentStore(FileTree(data_dir / "documents")), "r1", PDF)
    return schemathesis.openapi.from_url(f"{ops.url}/api/openapi.json", headers=BEARER)


def _hurry(case: schemathesis.Case[Any]) -> None:
    """Shorten allowed waits, and let some of the questions be about the request that there is."""
    for name in ("timeout", "wait"):
        value = case.query.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 25:
            case.query[name] = 0.01
    if case.query.get("wait") and "timeout" not in case.query and case.path.endswith("{request_id}"):
        case.query["timeout"] = 0.01
    identifier = str(case.path_parameters.get("request_id", ""))
    if identifier and len(identifier) % 2:
        case.path_parameters["request_id"] = "r1"


QUESTIONS = [
    (operation.path, mode)
    for operation in OPERATIONS
    if operation.method == "GET"
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    if mode is GenerationMode.POSITIVE or operation.query is not None  # else there is nothing to get wrong
]


def _wrong_on_the_wire(parameters: list[dict[str, Any]], asked: Any) -> bool:
    """Return whether a request is none that the description allows: `type=false` is the text false, one of a list."""
    found = parse_qs(urlsplit(asked.url).query, keep_blank_values=True)
    if found.keys() - {each["name"] for each in parameters if each["in"] == "query"}:
        return True
    for each in parameters:
        name, schema = each["name"], each["schema"]
        if each["in"] == "header":
            texts = [asked.headers[name].strip()] if name in asked.headers else []
        elif each["in"] == "query":
            texts = found.get(name, [])
        else:
            continue
        if not texts:
            continue
        numeric = schema.get("type") in {"integer", "number"}
        values: list[Any] = [_number(text) if numeric else text for text in texts]
        given = values if schema.get("type") == "array" or len(values) > 1 else values[0]
        if not Draft202012Validator(schema).is_valid(given):
            return True
    return False


def _number(text: str) -> Any:
    try:
        return int(text) if text.strip().lstrip("+-").isdigit() else float(text)
    except ValueError:
        return text


@pytest.mark.parametrize(("path", "mode"), QUESTIONS)
def test_every_answer_is_one_that_the_description_knows(api: Any, path: str, mode: GenerationMode) -> None:
    parameters = api.raw_schema["paths"][path]["get"].get("parameters", [])

    @given(case=api[path]["GET"].as_strategy(generation_mode=mode))
    @settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def ask(case: schemathesis.Case[Any]) -> None:
        _hurry(case)
        response = case.call(timeout=10, headers=BEARER)
        # A well-formed cursor may be from before what is kept: right, though nothing is wrong with the question.
        gone = response.status_code == HTTPStatus.GONE
        # Wrong tokens are answered with 429 after some; what a token opens is tested elsewhere.
        excluded: list[Any] = [ignored_auth, *([positive_data_acceptance] if gone else [])]
        if mode is GenerationMode.NEGATIVE and not _wrong_on_the_wire(parameters, response.request):
            excluded.append(negative_data_rejection)
        case.validate_response(response, excluded_checks=excluded)

    ask()


def test_the_description_names_every_route_and_no_other(api: Any, ops: Ops) -> None:
    del api
    rules = {
        re.sub(r"<(\w+)>", r"{\1}", rule.rule)
        for rule in create_app(Settings.load({"DEEDBOX_OPS_TOKEN": TOKEN})).url_map.iter_rules()
        if rule.endpoint.startswith("api.")
    }
    assert set(get(ops, "/api/openapi.json")["paths"]) == rules


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("events?limit=x", "limit"),
        ("events?limit=0", "limit"),
        ("events?limt=1", "limt"),
        ("events?limit=1&limit=2", "limit"),
        ("events?after=yesterday", "after"),
        ("events?after=18446744073709551615-18446744073709551615-1", "after"),
        ("events?after=", "after"),
        ("events?type=*", "type"),
        ("events?payload=yes", "payload"),
        ("events?wait=nan", "wait"),
        ("requests/r1?wait=coffee", "wait"),
        ("requests/r1?wait=complete&timeout=26", "timeout"),
        ("requests/r1?source=a:b", "source"),
        ("requests/r1/documents/1?page=2", "page"),
    ],
)
def test_a_bad_parameter_is_one_sentence_that_names_it(ops: Ops, query: str, names: str) -> None:
    resumed = {"Last-Event-ID": "1-1-1"} if query.startswith("events?after") else {}
    answer = ops.request("GET", f"/api/{query}", headers=resumed)
    assert (answer.status, answer.json()["error"]) == (400, "bad_request")
    assert answer.json()["detail"].startswith(names)
