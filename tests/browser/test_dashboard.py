"""The dashboard as people meet it: reading, following, repairing, and what hostile payloads must not do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from redis import Redis

from deedbox.ops.sessions import new_link
from deedbox.shared.redis import keys
from deedbox.shared.settings import Settings
from tests.browser import world
from tests.browser.conftest import Visit, Watch, sign_in
from tests.component.ops_web.conftest import Ops
from tests.component.workers.rig import members, sent, units, viewed
from tests.component.workers.server import RedisServer, until

pytestmark = [pytest.mark.real_redis, pytest.mark.e2e]

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
PAGES = ("/", "/requests", "/requests/default/signature_request/r0", "/dead", "/dead/1", "/dead/plan?do=redrive&all=1",
         "/dead/plan?do=discard&id=1", "/runbook", "/login", "/nowhere", "/pauses", "/audit",
         "/requests?state=sent&mode=live", "/events", "/plan/pause?kind=action&name=crm",
         "/plan/erase?request=signature_request/r0", "/plan/replay?request=r0&actions=crm")  # fmt: skip
SIDEWAYS = """[...document.querySelectorAll('main *')].filter((each) => each.scrollWidth > each.clientWidth + 1
    && ['auto', 'scroll'].includes(getComputedStyle(each).overflowX)).map((each) => each.outerHTML.slice(0, 80))"""
CROOKED = """[...document.querySelectorAll('main table')].filter((each) => getComputedStyle(each).display === 'table').flatMap(
    (table) => [...table.rows].filter((row) => [...row.cells].some((cell, at) => !cell.matches('[colspan]')
        && Math.abs(cell.getBoundingClientRect().left - table.rows[0].cells[at].getBoundingClientRect().left) > 1)))
    .map((row) => row.outerHTML.slice(0, 80))"""
BARE_TIMES = r"""(() => {
    const main = document.querySelector('main').cloneNode(true);
    const wrong = [...main.querySelectorAll('time')].filter((each) => !/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(each.dateTime));
    main.querySelectorAll('time, pre, code').forEach((each) => each.remove());
    return [...wrong.map((each) => each.outerHTML), ...(main.textContent.match(/\d\d:\d\d:\d\d/g) || [])];
})()"""
EVIL = """<img src=x onerror=alert(1)><script>alert(2)</script>"'{{7*7}}`</title>"""


def card(page: Page, stage: str) -> Any:
    return page.locator(f"[data-stage='{stage}'] .depth")


def test_everything_can_be_read_without_javascript(visit: Visit, state: Redis, ops: Ops) -> None:
    world.letters(state, 2)
    world.history(state)
    until(lambda: b"at most" in ops.request("GET", "/?hours=24").data, "the history is on the page")
    page = visit("/?hours=24", java_script_enabled=False)
    expect(card(page, "dead")).to_have_text("2")
    expect(page.get_by_text("2 dead letters need a decision")).to_be_visible()
    expect(page.locator("[data-chart='ack'] .summary")).to_contain_text("p99")
    page.get_by_text("Look at them").click()
    expect(page.get_by_role("heading", name="2 letters")).to_be_visible()
    page.get_by_role("link", name="rejected").first.click()
    expect(page.locator("#rejected")).to_be_visible()
    page.goto("/requests?q=lease 1")
    page.get_by_role("link", name="Lease 1").click()
    expect(page.get_by_role("heading", name="Lease 1")).to_be_visible()
    expect(page.get_by_role("row", name="viewed → crm")).to_contain_text("set aside, rejected")
    page.get_by_label("UTC", exact=True).check()
    expect(page.get_by_role("row", name="viewed → crm").locator("time .abs")).to_be_visible()


def test_the_overview_follows_what_happens(visit: Visit, state: Redis) -> None:
    page = visit("/")
    expect(page.get_by_role("heading", name="All is well")).to_be_visible()
    expect(card(page, "dead")).to_have_text("0")
    world.letters(state, 2)
    expect(card(page, "dead")).to_have_text("2")
    expect(page.get_by_role("heading", name="1 thing needs attention")).to_be_visible()
    expect(page.locator("#pulse")).to_have_text("live")


def test_an_outage_is_told_and_so_is_its_end(visit: Visit, redis_server: RedisServer, watch: Watch) -> None:
    watch.expected = ("503",)
    page = visit("/")
    redis_server.kill()
    try:
        expect(page.get_by_role("heading", name="The state cannot be read")).to_be_visible()
        expect(page.locator("#pulse")).to_contain_text("state unavailable")
    finally:
        redis_server.start()
    expect(page.get_by_role("heading", name="All is well")).to_be_visible()
    expect(page.locator("#pulse")).to_have_text("live")


def test_charts_are_drawn_and_told(visit: Visit, state: Redis, ops: Ops) -> None:
    world.history(state)
    until(lambda: b"bad_field" in ops.request("GET", "/live/charts?hours=6").data, "the history is there")
    page = visit("/?hours=6")
    expect(page.locator(".plot canvas")).to_have_count(6)
    expect(page.locator("[data-chart='refused'] .summary")).to_contain_text("bad_event_hash")
    expect(page.get_by_role("img", name="at most 2,")).to_have_count(1)


def test_a_redrive_shows_asks_and_then_does(visit: Visit, state: Redis) -> None:
    deployment = world.letters(state, 3)
    page = visit("/dead?action=crm")
    page.get_by_role("link", name="Redrive all 3 that match").click()
    expect(page.get_by_role("heading", name="Redrive 3 dead letters?")).to_be_visible()
    expect(page.get_by_text("Nothing has been changed")).to_be_visible()
    assert len(members(state, keys.DEAD)) == 3
    page.get_by_role("main").get_by_role("link", name="Sign in to redrive").click()
    sign_in(page)
    page.get_by_role("button", name="Redrive 3 dead letters").click()
    expect(page.get_by_role("status").first).to_have_text("Redriven: 3 dead letters.")
    assert members(state, keys.DEAD) == []
    assert len(units(state, "ready")) == 3
    deployment.run()
    page.reload()
    expect(page.get_by_role("heading", name="Matching letters (3 of 3)")).to_be_visible()


def test_a_link_signs_a_person_in_once_and_signing_out_ends_it(
    visit: Visit, ops: Ops, browser_data: Path, watch: Watch
) -> None:
    """The address bar does not keep the link."""
    watch.expected = ("401",)
    page = visit("/")
    page.context.clear_cookies()
    link = new_link(Settings.load({"DEEDBOX_DATA_DIR": str(browser_data)}), ops.url + "/")
    page.goto(link)
    expect(page).to_have_url(ops.url + "/")
    expect(page.get_by_role("heading", name="All is well")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.goto("/")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.goto(link)
    expect(page.get_by_role("alert")).to_contain_text("this link was used")


def test_selected_letters_are_discarded_without_javascript(visit: Visit, state: Redis) -> None:
    world.letters(state, 3)
    page = visit("/login?next=/dead", java_script_enabled=False)
    sign_in(page)
    page.get_by_label("Select letter 1").check()
    page.get_by_label("Select letter 3").check()
    page.get_by_role("button", name="Discard selected").click()
    expect(page.get_by_text("This cannot be undone")).to_be_visible()
    page.get_by_role("button", name="Discard 2 dead letters for good").click()
    expect(page.get_by_role("status").first).to_have_text("Discarded 2 dead letters.")
    assert members(state, keys.DEAD) == [b"2"]


def test_what_came_after_the_question_is_not_part_of_the_answer(visit: Visit, state: Redis) -> None:
    deployment = world.letters(state, 1)
    page = visit("/login?next=/dead/plan?do%3Ddiscard%26all%3D1")
    sign_in(page)
    expect(page.get_by_role("heading", name="Discard 1 dead letter?")).to_be_visible()
    deployment.deliver(viewed(9, "r0"))
    deployment.run()
    assert len(members(state, keys.DEAD)) == 2
    page.get_by_role("button", name="Discard 1 dead letter for good").click()
    expect(page.get_by_role("status").first).to_have_text("Discarded 1 dead letter.")
    assert members(state, keys.DEAD) == [b"2"]


def test_the_callback_is_shown_to_a_token_that_may_write_and_to_nobody_else(
    visit: Visit, state: Redis, watch: Watch
) -> None:
    watch.expected = ("403",)
    world.letters(state, 1)
    page = visit("/dead/1")
    assert "related_signature_id" not in page.content()
    page.get_by_role("link", name="Show the callback").click()
    expect(page.get_by_text("the token reader has no scope write")).to_be_visible()
    page.goto("/login?next=/dead/1/payload")
    sign_in(page)
    expect(page.get_by_label("The callback")).to_contain_text("related_signature_id")


def test_hostile_texts_stay_texts(visit: Visit, state: Redis) -> None:
    world.letters(state, 1, title=EVIL, why=EVIL)
    state.hset(keys.dead("1"), mapping={"action": EVIL, "type": EVIL, "reason": EVIL, "traceback": EVIL})
    evil_id = "r<script>alert(3)</script>"
    line = json.dumps({"at": 1.0, "kind": EVIL, "type": EVIL, "detail": EVIL})
    state.rpush(keys.timeline(f"default:signature_request/{evil_id}"), line)
    world.report(state, EVIL, failures=3, refused={EVIL: 3})
    world.worker(state, EVIL, "crm")
    page = visit("/")
    expect(page.locator("[data-part='workers']")).to_contain_text("<script>alert(2)")
    for path in (*PAGES[1:7], f"/requests?q={evil_id}", f"/requests?q={EVIL}", f"/dead?action={EVIL}"):
        page.goto(path)
        assert page.locator("script:not([src]), img").count() == 0, path
        assert "alert(" in page.content() or path.startswith("/dead/plan?do=discard"), path
    assert page.evaluate("document.title").startswith("Dead letters")


@pytest.mark.parametrize(
    ("scheme", "width"), [("light", 1280), ("dark", 390)], ids=["light-wide", "dark-phone"]
)
def test_every_page_fits_its_screen_and_is_accessible(
    visit: Visit, state: Redis, watch: Watch, scheme: str, width: int
) -> None:
    watch.expected = ("404",)
    world.letters(state, 2)
    world.report(state, failures=6)
    world.worker(state, "w1", "crm", busy=True)
    page = visit("/login?next=/", color_scheme=scheme, viewport={"width": width, "height": 800})
    sign_in(page)
    broken = []
    for path in PAGES:
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        assert page.evaluate(SIDEWAYS) == [], path
        assert page.evaluate(BARE_TIMES) == [], path
        assert page.evaluate(CROOKED) == [], path
        page.evaluate(AXE.read_text("utf-8"))  # by the debugger, which the page's policy does not bind
        found = page.evaluate("axe.run({resultTypes: ['violations']})")
        broken += [(path, each["id"], each["nodes"][0]["html"][:200]) for each in found["violations"]]
    assert not broken, "\n".join(map(str, broken))


def test_the_same_id_of_another_source_is_one_step_away(visit: Visit, state: Redis) -> None:
    deployment = world.letters(state, 1)
    deployment.deliver(sent(request_id="r0", title="Theirs"), source="sales")
    deployment.run()
    page = visit("/requests/sales/signature_request/r0")
    expect(page.get_by_role("heading", name="Theirs")).to_be_visible()
    page.get_by_role("link", name="signature_request/r0 of source default").click()
    expect(page.get_by_role("heading", name="Lease 0")).to_be_visible()


def test_the_tail_follows_the_clean_stream_pauses_and_continues(visit: Visit, state: Redis) -> None:
    deployment = world.deployment(state)
    deployment.deliver(sent(request_id="r1"))
    deployment.run()
    page = visit("/events?type=signature_request_sent")
    rows = page.locator("#events tbody tr")
    expect(page.locator("#follow")).to_have_text("live")
    expect(rows).to_have_count(1)
    deployment.deliver(sent(request_id=EVIL.partition("/")[0]), viewed(5, "r1"), sent(request_id="r2"))
    deployment.run()
    expect(rows).to_have_count(3)
    expect(rows.first).to_contain_text("signature_request_sent")
    page.get_by_role("button", name="Pause").click()
    deployment.deliver(sent(request_id="r3"))
    deployment.run()
    expect(page.locator("#follow")).to_have_text("paused, 1 new")
    expect(rows).to_have_count(3)
    page.get_by_role("button", name="Continue").click()
    expect(rows).to_have_count(4)
    page.get_by_role("link", name="r3").click()
    expect(page.get_by_role("heading", name="Timeline")).to_be_visible()


def test_a_text_is_copied_and_times_are_told_as_a_person_chose(visit: Visit, state: Redis) -> None:
    world.letters(state, 1)
    page = visit(
        "/dead/plan?do=redrive&id=1",
        permissions=["clipboard-write", "clipboard-read"],
        timezone_id="Asia/Tokyo",
    )
    page.get_by_role("button", name="Copy deedbox dead redrive 1").click()
    expect(page.get_by_role("button", name="Copy deedbox dead redrive 1")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == "deedbox dead redrive 1"
    page.goto("/dead")
    page.get_by_label("Asia/Tokyo").check()
    page.reload()
    filed = page.locator(".letters time").first
    at = page.evaluate(
        "(each) => new Date(each.dateTime).toLocaleString('sv', {timeZone: 'Asia/Tokyo'})",
        filed.element_handle(),
    )
    expect(filed.locator(".local")).to_be_visible()
    assert filed.inner_text() == at
    expect(visit("/dead", timezone_id="UTC").get_by_role("radio", name="UTC")).to_have_count(1)


def test_what_a_person_unfolded_stays_open_while_the_page_follows(visit: Visit, state: Redis) -> None:
    deployment = world.deployment(state, name="billing")
    page = visit("/")
    world.worker(state, "w1", "crm")
    summary = page.locator("[data-stage='lane:default'] summary")
    summary.click()
    deployment.deliver(sent(request_id="r1"))
    expect(page.locator("[data-part='workers']")).to_contain_text("w1")
    expect(page.locator("[data-stage='lane:default'] details")).to_have_attribute("open", "")
    expect(page.locator("[data-stage='lane:default'] li")).to_have_count(2)
