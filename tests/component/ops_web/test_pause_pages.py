"""The dashboard shows what is paused on every page, and pauses and resumes for who may write."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask.testing import FlaskClient
from redis import Redis

from deedbox.ops.web.app import create_app
from deedbox.shared.redis import keys
from deedbox.shared.settings import Settings
from tests.component.ops_web.conftest import READER, TOKEN
from tests.component.workers.conftest import quiet
from tests.component.workers.rig import Deployment, Journal, action, sent
from tests.component.workers.server import RedisServer
from tests.support.forms import Page

__all__ = ["quiet"]

pytestmark = pytest.mark.real_redis


@pytest.fixture
def site(redis_server: RedisServer, state: Redis, tmp_path: Path) -> FlaskClient:
    del state  # emptied
    tokens = f'{{"reader": {{"token": "{READER}", "scopes": ["read"]}}}}'
    settings = Settings.load({
        "DEEDBOX_REDIS_URL": redis_server.url, "DEEDBOX_DATA_DIR": str(tmp_path), "DEEDBOX_OPS_TOKEN": TOKEN,
        "DEEDBOX_OPS_TOKENS": tokens, "DEEDBOX_API_KEYS": "k" * 64,
    })  # fmt: skip
    return create_app(settings).test_client()


def _sign_in(site: FlaskClient, token: str) -> None:
    form = Page(site.get("/login").text).form("Sign in")
    given = [(name, value) for name, value in form.fields if name != "token"]
    site.post(form.action, data=dict([*given, ("token", token)]))


def test_a_request_is_paused_on_its_page_shown_on_every_page_and_resumed(
    site: FlaskClient, state: Redis
) -> None:
    journal = Journal()
    deployment = Deployment(state, action(journal, name="crm"))
    deployment.deliver(sent())
    deployment.run()
    _sign_in(site, TOKEN)
    page = "/requests/default/signature_request/r1"
    form = Page(site.get(page).text).form("Pause")
    answer = site.post(form.action, data=dict(form.sent("Pause")))
    assert (answer.status_code, answer.location) == (303, page)

    assert state.hkeys(keys.PAUSED) == [b"request|default:signature_request/r1"]
    for path in ("/dead", "/pauses", "/runbook", page):
        assert "signature_request/r1 of source default" in site.get(path).text.partition('id="paused"')[2]
    form = Page(site.get(page).text).form("Resume")
    site.post(form.action, data=dict(form.sent("Resume")))
    assert not state.exists(keys.PAUSED)


def test_an_action_is_paused_from_the_list(site: FlaskClient, state: Redis) -> None:
    Deployment(state, action(Journal(), name="crm"))
    _sign_in(site, TOKEN)
    form = next(each for each in Page(site.get("/pauses").text).forms if ("kind", "action") in each.fields)
    site.post(form.action, data=dict([*form.fields, ("name", "crm"), ("why", "away")]))
    assert state.hkeys(keys.PAUSED) == [b"action|crm"]
    listed = site.get("/pauses").text
    assert all(word in listed for word in ("action crm", "away", "admin"))


def test_who_may_only_read_sees_pauses_and_changes_none(site: FlaskClient, state: Redis) -> None:
    Deployment(state, action(Journal(), name="crm"))
    _sign_in(site, READER)
    page = Page(site.get("/pauses").text)
    assert not any(each.action == "/pauses" for each in page.forms)
    token = dict(page.forms[0].fields)["csrf_token"]
    data = {"csrf_token": token, "do": "pause", "kind": "action", "name": "crm"}
    assert site.post("/pauses", data=data).status_code == 403
    assert not state.exists(keys.PAUSED)


@pytest.mark.parametrize(
    "wrong", [{"do": "stop"}, {"kind": "cat"}, {"name": "nobody"}, {"kind": "lane", "name": "sequencer"}]
)
def test_a_form_that_means_nothing_is_refused_with_a_sentence(
    site: FlaskClient, state: Redis, wrong: dict[str, str]
) -> None:
    Deployment(state, action(Journal(), name="crm"))
    _sign_in(site, TOKEN)
    token = dict(Page(site.get("/pauses").text).forms[0].fields)["csrf_token"]
    answer = site.post(
        "/pauses", data={"csrf_token": token, "do": "pause", "kind": "action", "name": "crm"} | wrong
    )
    assert answer.status_code == 400
    assert not state.exists(keys.PAUSED)
