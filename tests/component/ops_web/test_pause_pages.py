"""The dashboard shows what is paused on every page, and pauses and resumes for who may write."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient
from redis import Redis
from werkzeug.test import TestResponse

from deedbox.shared.redis import keys
from tests.component.ops_web.conftest import READER, sign_in
from tests.component.workers.rig import Deployment, Journal, action, sent
from tests.support.forms import Form, Page

pytestmark = pytest.mark.real_redis


def _confirmed(site: FlaskClient, asked: Form, button: str, *more: tuple[str, str]) -> TestResponse:
    """Ask with a form, which changes nothing, and confirm the plan that it leads to."""
    plan = site.get(asked.action, query_string=[*asked.sent(button), *more])
    assert plan.status_code == 200
    form = Page(plan.text).form(button)
    return site.post(form.action, data=dict(form.sent(button)))


def test_a_request_is_paused_on_its_page_shown_on_every_page_and_resumed(
    site: FlaskClient, state: Redis
) -> None:
    journal = Journal()
    deployment = Deployment(state, action(journal, name="crm"))
    deployment.deliver(sent())
    deployment.run()
    sign_in(site)
    page = "/requests/default/signature_request/r1"
    answer = _confirmed(site, Page(site.get(page).text).form("Pause"), "Pause")
    assert (answer.status_code, answer.location) == (303, page)

    assert state.hkeys(keys.PAUSED) == [b"request|default:signature_request/r1"]
    for path in ("/dead", "/pauses", "/runbook", page):
        assert "signature_request/r1 of source default" in site.get(path).text.partition('id="paused"')[2]
    _confirmed(site, Page(site.get(page).text).form("Resume"), "Resume")
    assert not state.exists(keys.PAUSED)


def test_an_action_is_paused_from_the_list(site: FlaskClient, state: Redis) -> None:
    Deployment(state, action(Journal(), name="crm"))
    sign_in(site)
    form = next(each for each in Page(site.get("/pauses").text).forms if ("kind", "action") in each.fields)
    form.fields.remove(("why", ""))
    _confirmed(site, form, "Pause", ("name", "crm"), ("why", "away"))
    assert state.hkeys(keys.PAUSED) == [b"action|crm"]
    listed = site.get("/pauses").text
    assert all(word in listed for word in ("action crm", "away", "admin"))


def test_who_may_only_read_sees_pauses_and_changes_none(site: FlaskClient, state: Redis) -> None:
    Deployment(state, action(Journal(), name="crm"))
    sign_in(site, READER)
    page = Page(site.get("/pauses").text)
    assert not any(each.action.startswith("/plan/") for each in page.forms)
    token = dict(page.forms[0].fields)["csrf_token"]
    assert site.get("/plan/pause?kind=action&name=crm").status_code == 403
    assert site.post("/plan/pause", data={"csrf_token": token, "token": "x" * 43}).status_code == 403
    assert not state.exists(keys.PAUSED)


@pytest.mark.parametrize(
    "wrong",
    [
        "resume-all",
        "pause?kind=cat&name=crm",
        "pause?kind=action&name=nobody",
        "pause?kind=lane&name=sequencer",
        "pause",
    ],
)
def test_a_form_that_means_nothing_is_refused_with_a_sentence(
    site: FlaskClient, state: Redis, wrong: str
) -> None:
    Deployment(state, action(Journal(), name="crm"))
    sign_in(site)
    assert site.get(f"/plan/{wrong}").status_code in {400, 404}
    assert not state.exists(keys.PAUSED)


def test_a_plan_is_carried_out_once_and_without_it_nothing_is(site: FlaskClient, state: Redis) -> None:
    Deployment(state, action(Journal(), name="crm"))
    sign_in(site)
    form = Page(site.get("/plan/pause?kind=action&name=crm&back=//evil.example").text).form("Pause")
    answers = [site.post(form.action, data=dict(form.sent("Pause"))) for _ in range(2)]
    assert [each.status_code for each in answers] == [303, 410]
    assert answers[0].location == "/"
