"""Sessions of a browser: how they begin, what they may, when they end."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from deedbox.ops import sessions
from deedbox.ops.sessions import SecretFiles
from deedbox.ops.web.app import create_app
from tests.unit.ops_web.guarded import (
    ADMIN,
    READER,
    Clock,
    cookie,
    form_token,
    settings_of,
    sign_in,
)


def test_a_session_writes_with_the_token_of_its_form_only(browser: FlaskClient) -> None:
    assert sign_in(browser) == 302
    assert browser.post("/api/thing").get_json()["error"] == "cross_site"
    token = form_token(browser.get("/login").get_data(as_text=True))
    assert browser.post("/api/thing", data={"csrf_token": token}).status_code == 200
    assert browser.post("/api/thing", headers={"X-CSRFToken": token}).status_code == 200


def test_a_session_ends_after_a_working_day_of_use(browser: FlaskClient, clock: Clock) -> None:
    sign_in(browser)
    for _ in range(sessions.SESSION_S // 1800):
        assert browser.get("/api/thing").get_data(as_text=True) == "admin"
        clock.now += 1800
    clock.now += 1
    assert browser.get("/api/thing").status_code == 401


def test_a_session_ends_when_it_is_not_used(browser: FlaskClient, clock: Clock) -> None:
    sign_in(browser)
    clock.now += sessions.IDLE_S - 1
    assert browser.get("/api/thing").status_code == 200
    clock.now += sessions.IDLE_S - 1
    assert browser.get("/api/thing").status_code == 200
    clock.now += sessions.IDLE_S + 1
    assert browser.get("/api/thing").status_code == 401


def test_signing_out_ends_the_session_for_every_copy_of_its_cookie(browser: FlaskClient, app: Flask) -> None:
    sign_in(browser)
    copied = app.test_client()
    copied.set_cookie("deedbox_ops", cookie(browser))
    assert copied.get("/api/thing").status_code == 200
    token = form_token(browser.get("/login").get_data(as_text=True))
    browser.post("/logout", data={"csrf_token": token})
    assert browser.get("/api/thing").status_code == 401
    assert copied.get("/api/thing").status_code == 401


def test_a_session_that_was_planted_before_a_sign_in_opens_nothing_after_it(
    browser: FlaskClient, app: Flask
) -> None:
    sign_in(browser, READER)
    planted = cookie(browser)
    browser.post("/login", data={"token": ADMIN, "csrf_token": form_token(browser.get("/login").text)})
    assert cookie(browser) != planted
    other = app.test_client()
    other.set_cookie("deedbox_ops", planted)
    assert other.get("/api/thing").status_code == 401


def test_a_session_ends_when_its_token_is_changed(browser: FlaskClient, tmp_path: Path, clock: Clock) -> None:
    sign_in(browser)
    changed = create_app(settings_of(tmp_path, DEEDBOX_OPS_TOKEN=ADMIN + "-2"), clock).test_client()
    changed.set_cookie("deedbox_ops", cookie(browser))
    assert changed.get("/api/queues").status_code == 503  # figures: Redis is away
    assert changed.get("/api/requests/r1").status_code == 401


@pytest.mark.parametrize("headers", [{}, {"Origin": "https://localhost"}, {"X-Forwarded-Proto": "https"}])
def test_the_session_cookie_stays_with_this_site_and_behind_tls_with_tls(
    browser: FlaskClient, headers: dict[str, str]
) -> None:
    answer = browser.post("/login", data={"token": ADMIN}, headers=headers)
    set_cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in set_cookie
    assert "SameSite=Lax" in set_cookie
    assert ("Secure" in set_cookie) is bool(headers)


def test_the_cookie_and_the_form_hold_nothing_but_random_text(browser: FlaskClient, tmp_path: Path) -> None:
    """Nothing leaves the server from which a token could be guessed without asking it."""
    assert "Set-Cookie" not in browser.get("/login").headers
    assert "csrf" not in browser.get("/login").text
    seen = set()
    for _ in range(2):
        sign_in(browser)
        assert re.fullmatch(r"[A-Za-z0-9_-]{43}", cookie(browser))
        form = form_token(browser.get("/login").text)
        assert re.fullmatch(r"[A-Za-z0-9_-]{32}", form)
        seen |= {cookie(browser), form}
        browser.post("/logout", data={"csrf_token": form})
    assert len(seen) == 4
    sign_in(browser)
    kept = list((tmp_path / "ops" / "sessions").iterdir())
    assert [cookie(browser) in path.name + path.read_text() for path in kept] == [False]
    assert kept[0].stat().st_mode & 0o777 == 0o600
    assert kept[0].parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("secret", ["", "x", "..", "../token", "a" * 43, "a" * 4000, "\x00"])
def test_a_cookie_that_is_none_of_ours_is_nobodys(browser: FlaskClient, secret: str) -> None:
    browser.set_cookie("deedbox_ops", secret)
    assert browser.get("/api/thing").status_code == 401


def test_a_link_signs_one_browser_in_once_and_leaves_the_address_bar(
    app: Flask, links: SecretFiles, clock: Clock
) -> None:
    link = links.create({})
    first, second = app.test_client(), app.test_client()
    answer = first.get(f"/sign-in?link={link}")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/")
    assert answer.headers["Cache-Control"] == "no-store"
    assert first.get("/api/thing").text == "owner"
    again = second.get(f"/sign-in?link={link}")
    assert again.status_code == 401
    assert "deedbox sign-in" in again.text
    assert second.get("/api/thing").status_code == 401
    late = links.create({})
    clock.now += sessions.LINK_S
    assert second.get(f"/sign-in?link={late}").status_code == 401


def test_of_many_who_open_a_link_at_once_one_is_signed_in(app: Flask, links: SecretFiles) -> None:
    link = links.create({})
    with ThreadPoolExecutor(8) as pool:
        codes = list(
            pool.map(lambda _: app.test_client().get(f"/sign-in?link={link}").status_code, range(16))
        )
    assert sorted(codes) == [302] + [401] * 15
