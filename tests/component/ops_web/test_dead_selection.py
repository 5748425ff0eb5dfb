"""What a person selects on the pages of dead letters is what a plan covers, and nothing else."""

from __future__ import annotations

import re

import pytest
from flask.testing import FlaskClient
from redis import Redis

from deedbox.shared.redis import keys
from deedbox.workers.actions.interface import Context, Event, Reject
from tests.component.ops_web.conftest import sign_in
from tests.component.workers.rig import Deployment, action, members, sent
from tests.support.forms import Page

pytestmark = pytest.mark.real_redis

ACTS = ("Redrive", "Discard")
FILTERED = "/dead?reason=rejected&action=crm"


@pytest.fixture
def browser(site: FlaskClient) -> FlaskClient:
    sign_in(site)
    return site


@pytest.fixture
def deployment(state: Redis) -> Deployment:
    """Return a deployment with two actions that reject every ``viewed``, after two requests: four letters."""
    both = Deployment(state, *(action(_reject, name=name) for name in ("crm", "billing")))
    arrive(both, 0, 1)
    return both


def _reject(_event: Event, _context: Context) -> None:
    raise Reject("no")


def arrive(deployment: Deployment, *numbers: int) -> None:
    """Let a callback about each request be dead-lettered, once per action."""
    deployment.deliver(*(sent(request_id=f"r{number}") for number in numbers))
    deployment.run()


def letters(deployment: Deployment) -> set[bytes]:
    return set(members(deployment.redis, keys.DEAD))


def count_of(text: str) -> int:
    found = re.search(r"(\d+)", text)
    assert found is not None, text
    return int(found[1])


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("path", ["/dead", FILTERED, "/dead?reason=rejected&action=crm&from=1"])
def test_a_button_for_selected_letters_with_none_selected_asks_to_select_and_keeps_the_place(
    browser: FlaskClient, deployment: Deployment, act: str, path: str
) -> None:
    button = f"{act} selected"
    form = Page(browser.get(path).text).form(button)
    answer = browser.get(form.action, query_string=form.sent(button))
    assert (answer.status_code, answer.headers["Location"]) == (303, path)
    assert "Select letters first." in Page(browser.get(path).text).text
    assert len(letters(deployment)) == 4


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("path", ["/dead", FILTERED])
def test_a_button_for_all_acts_on_the_number_that_it_says_whatever_is_filed_meanwhile(
    browser: FlaskClient, deployment: Deployment, act: str, path: str
) -> None:
    label, link = next(
        (k, v) for k, v in Page(browser.get(path).text).links.items() if k.startswith(f"{act} all")
    )
    assert count_of(label) == (2 if path == FILTERED else 4)
    before = letters(deployment)
    arrive(deployment, 2)
    later = letters(deployment) - before
    assert len(later) == 2
    plan = Page(browser.get(link).text)
    button = f"{act} {count_of(label)} dead letters"
    form = plan.form(button)
    arrive(deployment, 3)
    answer = browser.post(form.action, data=_by_name(form.sent(button)))
    assert answer.headers["Location"] == path
    left = letters(deployment)
    assert later < left
    assert letters(deployment) - before > later
    assert len(before - left) == count_of(label)


def test_selected_letters_are_all_that_a_plan_covers_and_the_filter_stays(
    browser: FlaskClient, deployment: Deployment
) -> None:
    form = Page(browser.get(FILTERED).text).form("Discard selected")
    plan = Page(browser.get(form.action, query_string=form.sent("Discard selected", ticked=1)).text)
    form = plan.form("Discard 1 dead letter")
    answer = browser.post(form.action, data=_by_name(form.sent("Discard 1 dead letter")))
    assert answer.headers["Location"] == FILTERED
    assert len(letters(deployment)) == 3


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"action": "crm"},
        {"all": "1"},
        {"all": "1", "upto": "inf"},
        {"all": "1", "upto": "nan"},
        {"all": "yes"},
    ],
)
def test_an_act_that_does_not_say_on_what_is_refused(
    browser: FlaskClient, deployment: Deployment, asked: dict[str, str]
) -> None:
    token = dict(Page(browser.get("/login").text).form("Sign in").fields)["csrf_token"]
    answer = browser.post("/dead", data={"do": "discard", "csrf_token": token, **asked})
    assert answer.status_code == 400
    assert len(letters(deployment)) == 4


def _by_name(rows: list[tuple[str, str]]) -> dict[str, list[str]]:
    return {name: [value for each, value in rows if each == name] for name, _ in rows}


def test_the_page_of_a_request_leads_to_its_own_letters_only(
    browser: FlaskClient, deployment: Deployment
) -> None:
    page = browser.get("/requests/default/signature_request/r0").text
    [where] = {each for each in re.findall(r'href="(/dead[?][^"]*)"', page) if "stream" in each}
    found = browser.get(where).text
    assert "Matching letters (2 of 4)" in found
    assert "signature_request/r1" not in found
    plan = browser.get(where.replace("/dead?", "/dead/plan?do=discard&all=1&")).text
    assert "Discard 2 dead letters?" in plan
    assert len(deployment.letters()) == 4
