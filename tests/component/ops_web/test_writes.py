"""The writes of the API: first a plan that changes nothing, then what it named, once, by who asked, and audited."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from redis import Redis

from deedbox.ops.repair.planned import WRITES
from deedbox.ops.supervise.secrets import environment
from deedbox.ops.web.api import writes
from deedbox.ops.web.app import create_app
from deedbox.shared.audit import audit_log
from deedbox.shared.redis import keys
from deedbox.shared.settings import Settings
from deedbox.workers.actions.interface import Context, Event, Reject
from tests.component.ops_web.conftest import OTHER, READER, TOKEN
from tests.component.workers.rig import Deployment, Journal, action, sent
from tests.component.workers.server import RedisServer
from tests.support.forms import Page

pytestmark = pytest.mark.real_redis

REQUEST = "default:signature_request/r1"

ASKED: dict[str, dict[str, Any]] = {
    "redrive": {"action": "crm"},
    "discard": {"all": True},
    "replay": {"actions": ["log"], "request": "r1"},
    "pause": {"kind": "action", "name": "crm", "why": "away"},
    "resume": {"kind": "action", "name": "log"},
    "erase": {"request": "r1"},
}
"""One question of each operation but ``reconcile``, which asks the API."""


@pytest.fixture
def deployment(state: Redis) -> Deployment:
    """Return a deployment with one dead letter, one event that was worked off, and one pause."""

    def reject(_event: Event, _context: Context) -> None:
        raise Reject("no")

    found = Deployment(state, action(reject, name="crm"), action(Journal(), name="log"))
    found.deliver(sent())
    found.run()
    state.hset(keys.PAUSED, "action|log", '{"n":1,"at":1,"by":"ann","why":""}')
    return found


def ask(site: FlaskClient, name: str, body: object, token: str = TOKEN) -> Any:
    return site.post(f"/api/operations/{name}", json=body, headers={"Authorization": f"Bearer {token}"})


def content(state: Redis) -> dict[bytes, bytes | None]:
    return {key: state.dump(key) for key in state.scan_iter()}


def test_every_operation_of_the_api_is_one_that_is_planned_first() -> None:
    assert [each.name for each in writes.OPERATIONS] == list(WRITES)
    assert {*ASKED, "reconcile"} == set(WRITES)


@pytest.mark.parametrize("name", ASKED)
def test_a_plan_changes_nothing_and_its_token_carries_it_out_once(
    site: FlaskClient, deployment: Deployment, state: Redis, name: str
) -> None:
    del deployment
    before = content(state)
    planned = ask(site, name, ASKED[name])
    assert (planned.status_code, planned.json["done"]) == (200, None)
    assert content(state) == before

    done = ask(site, name, {"token": planned.json["token"]})

    assert (done.status_code, done.json["plan"], done.json["token"]) == (200, None, None)
    after = content(state)
    assert after != before
    again = ask(site, name, {"token": planned.json["token"]})
    assert (again.status_code, again.json["error"]) == (410, "gone")
    assert content(state) == after


def test_what_is_done_is_what_the_operation_says(
    site: FlaskClient, deployment: Deployment, state: Redis
) -> None:
    def done(name: str) -> Any:
        return ask(site, name, {"token": ask(site, name, ASKED[name]).json["token"]}).json["done"]

    assert done("pause") == {"paused": True}
    assert state.hkeys(keys.PAUSED) == [b"action|log", b"action|crm"]
    assert b'"by":"admin"' in (state.hget(keys.PAUSED, "action|crm") or b"")
    assert done("resume") == {"resumed": True}
    assert done("redrive") == {"redriven": 1, "gone": 0, "refused": []}
    assert done("replay")["appended"] == 1
    state.delete(keys.PAUSED)
    deployment.run()
    assert state.zcard(keys.DEAD) == 1, "the action rejected it again"
    assert done("discard") == {"discarded": 1, "gone": 0}
    assert done("erase")["events"] == 1
    assert state.exists(keys.erased(REQUEST))


def test_letters_that_came_or_went_after_the_plan_are_not_touched(
    site: FlaskClient, deployment: Deployment, state: Redis
) -> None:
    token = ask(site, "discard", {"all": True}).json["token"]
    deployment.deliver(sent(0, "r2"))
    deployment.run()
    assert state.zcard(keys.DEAD) == 2
    assert ask(site, "discard", {"token": token}).json["done"] == {"discarded": 1, "gone": 0}
    token = ask(site, "discard", {"all": True}).json["token"]
    ask(site, "discard", {"token": ask(site, "discard", {"all": True}).json["token"]})
    assert ask(site, "discard", {"token": token}).json["done"] == {"discarded": 0, "gone": 1}


def test_a_token_is_of_no_use_to_another_caller_or_operation(
    site: FlaskClient, deployment: Deployment, state: Redis
) -> None:
    del deployment
    token = ask(site, "discard", {"all": True}).json["token"]
    for answer in (
        ask(site, "discard", {"token": token}, OTHER),
        ask(site, "redrive", {"token": token}),
        ask(site, "discard", {"token": "x" * 43}),
        ask(site, "discard", {"token": "../x"}),
    ):
        assert (answer.status_code, answer.json["error"]) == (410, "gone")
    assert state.zcard(keys.DEAD) == 1
    assert ask(site, "discard", {"token": token}).status_code == 200, "and it is still its owner's"


def test_only_a_token_that_may_write_or_a_session_with_its_csrf_token_is_heard(
    site: FlaskClient, deployment: Deployment, state: Redis
) -> None:
    del deployment
    before = content(state)
    path = "/api/operations/discard"
    assert ask(site, "discard", {"all": True}, READER).status_code == 403
    assert site.post(path, json={"all": True}).status_code == 401
    form = Page(site.get("/login").text).form("Sign in")
    given = [(name, value) for name, value in form.fields if name != "token"]
    site.post(form.action, data=dict([*given, ("token", TOKEN)]))
    forged = site.post(path, json={"all": True})
    assert (forged.status_code, forged.get_json()["error"]) == (403, "cross_site")
    foreign = site.post(
        path,
        json={"all": True},
        headers={"Authorization": f"Bearer {TOKEN}", "Origin": "https://evil.example"},
    )
    assert foreign.status_code == 403
    token = dict(Page(site.get("/dead").text).forms[0].fields)["csrf_token"]
    assert site.post(path, json={"all": True}, headers={"X-CSRFToken": token}).status_code == 200
    assert content(state) == before


@pytest.mark.parametrize("name", ASKED)
def test_who_did_what_and_when_is_recorded_and_a_plan_is_not(
    site: FlaskClient, deployment: Deployment, state: Redis, name: str
) -> None:
    del deployment
    token = ask(site, name, ASKED[name]).json["token"]
    assert audit_log.read(state, 9) == []
    ask(site, name, {"token": token})
    [line] = audit_log.read(state, 9)
    assert (line.who, line.way, line.operation, line.count) == ("admin", "api", name, 1)
    assert line.asked
    assert line.at == pytest.approx(time.time(), abs=600)
    assert "away" not in str(line), "a reason is free text, which may name a signer"


def test_what_the_dashboard_does_is_recorded_the_same_way(
    site: FlaskClient, deployment: Deployment, state: Redis
) -> None:
    del deployment
    form = Page(site.get("/login").text).form("Sign in")
    given = [(name, value) for name, value in form.fields if name != "token"]
    site.post(form.action, data=dict([*given, ("token", TOKEN)]))
    csrf = {"X-CSRFToken": dict(Page(site.get("/dead").text).forms[0].fields)["csrf_token"]}
    assert site.get("/dead/1/payload").status_code == 200
    page = Page(site.get("/plan/pause?kind=action&name=crm&why=away").text).form("Pause")
    site.post(page.action, data=dict(page.fields))
    site.post("/dead", data={"do": "discard", "id": ["1"]}, headers=csrf)
    found = [
        (line.who, line.way, line.operation, line.count, dict(line.asked))
        for line in audit_log.read(state, 9)
    ]
    assert found == [
        ("admin", "dashboard", "discard", 1, {"ids": ["1"]}),
        ("admin", "dashboard", "pause", 1, {"kind": "action", "name": "crm"}),
        ("admin", "dashboard", "show_payload", 1, {"letter": "1"}),
    ]


def test_no_page_and_no_address_changes_anything_beside_the_recorded_operations(site: FlaskClient) -> None:
    """A new address that takes a POST belongs into one of these: recorded, or about the caller's own session."""
    rules = {
        str(rule)
        for rule in site.application.url_map.iter_rules()
        if {"POST", "PUT", "DELETE"} & (rule.methods or set())
    }
    recorded = {"/dead", "/plan/<name>", *(f"/api/operations/{name}" for name in WRITES)}
    assert rules == recorded | {"/login", "/logout"}


def test_an_ops_process_without_an_api_key_says_how_to_reconcile(
    state: Redis, redis_server: RedisServer, tmp_path: Path
) -> None:
    """As ``deedbox up`` starts it: with the names of the sources, and no key."""
    del state  # emptied
    environ = {"DEEDBOX_API_KEYS": "k" * 64, "DEEDBOX_DATA_DIR": str(tmp_path), "DEEDBOX_REDIS_URL": redis_server.url,
               "DEEDBOX_OPS_TOKEN": TOKEN}  # fmt: skip
    site = create_app(Settings.load(environment(environ, "ops", Settings.load(environ)))).test_client()
    answer = ask(site, "reconcile", {"since": "6h"})
    assert (answer.status_code, answer.json["error"]) == (400, "bad_request")
    assert "has no API key" in answer.json["detail"]
    assert "`deedbox reconcile`" in answer.json["detail"]


@pytest.mark.parametrize(
    ("name", "body", "sentence"),
    [
        ("discard", {}, "say which dead letters"),
        ("discard", {"ids": ["1"], "all": True}, "not both"),
        ("discard", {"ids": ["99"]}, "There is no dead letter 99"),
        ("discard", {"every": True}, "every is no field here; use ids"),
        ("discard", {"all": True, "token": "x"}, "all is no field here; use token"),
        ("discard", {"all": "yes"}, "all is not usable"),
        ("discard", [], "no JSON object"),
        ("redrive", {"type": "a b"}, "type is an exact event type"),
        ("replay", {"actions": ["log"]}, "say which events"),
        ("replay", {"actions": ["lgo"], "request": "r1"}, "There is no action lgo"),
        ("replay", {"request": "r1"}, "actions is not usable"),
        ("replay", {"actions": ["log"], "since": "soon"}, "--since"),
        ("pause", {"kind": "cat", "name": "x"}, "kind is not usable"),
        ("pause", {"kind": "lane", "name": "nowhere"}, "There is no lane nowhere"),
        ("erase", {"request": "r9"}, "nothing is known"),
        ("erase", {"request": "template/t1"}, "no signature request"),
        ("reconcile", {"since": 24}, "since is not usable"),
        ("reconcile", {"source": "sales"}, "There is no source sales"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_sentence_and_changes_nothing(
    site: FlaskClient, deployment: Deployment, state: Redis, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch,
    name: str, body: object, sentence: str,
) -> None:  # fmt: skip
    del deployment
    monkeypatch.setenv("DEEDBOX_REDIS_URL", redis_server.url)
    monkeypatch.setenv("DEEDBOX_API_KEYS", "k" * 64)
    before = content(state)
    answer = ask(site, name, body)
    assert (answer.status_code, answer.json["error"]) == (400, "bad_request")
    assert sentence in answer.json["detail"]
    assert content(state) == before
