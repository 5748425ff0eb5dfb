"""The dashboard's page of who changed what: newest first, a page at a time, nothing of it obeyed."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient
from redis import Redis

from deedbox.ops.web.pages.audit import PER_PAGE
from deedbox.shared.audit import AuditedOperation
from deedbox.shared.audit.audit_log import KEEP, AuditLog
from deedbox.shared.redis import keys
from deedbox.shared.redis.scripting import Scripts
from tests.component.ops_web.conftest import READER
from tests.support.forms import Page

pytestmark = pytest.mark.real_redis


@pytest.fixture(autouse=True)
def reader(site: FlaskClient) -> None:
    site.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {READER}"


def _operations(state: Redis, count: int, who: str = "anna") -> None:
    log = AuditLog(lambda: Scripts(state), who)
    for number in range(count):
        with log.operation(AuditedOperation.REDRIVE, ids=[f"letter-{number}"]) as done:
            done.count = 1


def _page(site: FlaskClient, path: str = "/audit") -> Page:
    answer = site.get(path)
    assert answer.status_code == 200
    return Page(answer.text)


def test_before_anything_was_changed_the_page_says_so(site: FlaskClient) -> None:
    assert "Nobody has changed anything yet." in _page(site).text


def test_a_line_says_who_did_what_from_where_and_whether_it_broke_off(
    site: FlaskClient, state: Redis
) -> None:
    with AuditLog(lambda: Scripts(state), "anna").operation(AuditedOperation.SHOW_PAYLOAD, letter="7"):
        pass
    found = _page(site)
    words = found.text.partition("Asked for")[2]
    assert words.startswith(" show payload ")
    assert "anna command broke off letter=7" in words
    assert found.links["Audit"] == "/audit"


def test_every_operation_is_on_one_page_also_beside_a_line_that_cannot_be_read(
    site: FlaskClient, state: Redis
) -> None:
    _operations(state, 2 * PER_PAGE)
    state.lset(keys.AUDIT, 3, "theirs")
    first = _page(site)
    second = _page(site, first.links["Older"])
    shown = [
        word.partition("=")[2] for page in (first, second) for word in page.words if word.startswith("ids=")
    ]
    assert shown == [
        f"letter-{number}" for number in range(2 * PER_PAGE - 1, -1, -1) if number != 2 * PER_PAGE - 4
    ]
    assert "Newer" not in first.links
    assert "Older" not in second.links
    assert second.links["Newer"] == "/audit?from=0"


@pytest.mark.parametrize("start", ["-1", "x", "9" * 400, str(KEEP), ""])
def test_a_place_that_there_is_not_breaks_nothing(site: FlaskClient, state: Redis, start: str) -> None:
    _operations(state, 1)
    assert ("letter-0" in _page(site, f"/audit?from={start}").text) == (start in {"-1", "x", ""})


def test_nothing_in_a_line_is_obeyed_or_names_a_person(site: FlaskClient, state: Redis) -> None:
    evil = "<script>alert(1)</script>\u202e jane.doe@signer.example"
    log = AuditLog(lambda: Scripts(state), evil)
    with log.operation(AuditedOperation.PAUSE, target=evil) as done:
        done.count = 1
    html = site.get("/audit").text
    assert "<script>alert" not in html
    assert "\u202e" not in html
    assert "jane.doe@signer.example" not in html


def test_the_page_changes_nothing(site: FlaskClient, state: Redis) -> None:
    """Looking is no operation, and no method but those that read is answered."""
    _operations(state, 1)
    before = state.lrange(keys.AUDIT, 0, -1)
    assert _page(site).forms == [] or all(form.action != "/audit" for form in _page(site).forms)
    assert {site.open("/audit", method=method).status_code for method in ("POST", "PUT", "DELETE")} <= {
        401,
        403,
        405,
    }
    assert state.lrange(keys.AUDIT, 0, -1) == before
