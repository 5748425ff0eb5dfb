"""The guard around a small application of its own: what a browser, a program and another site's page meet."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from deedbox.ops.web import errors
from deedbox.ops.web.app import create_app
from deedbox.ops.web.auth import guard
from deedbox.ops.web.auth.access import Refused
from deedbox.ops.web.auth.tokens import Scope
from deedbox.shared.settings import Settings

ADMIN = "admin-0123456789abcdef"


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def app(tmp_path: Path, clock: Clock) -> Flask:
    settings = Settings.load(
        {
            "DEEDBOX_DATA_DIR": str(tmp_path),
            "DEEDBOX_REDIS_URL": "redis://127.0.0.1:1/0",
            "DEEDBOX_OPS_TOKENS": f'{{"admin": {{"token": "{ADMIN}", "scopes": ["read", "write"]}}, '
            '"reader": {"token": "reader-0123456789abcd", "scopes": ["read"]}}',
        }
    )
    app = create_app(settings, clock)

    @app.get("/api/thing")
    def read() -> str:
        return guard.caller().name

    @app.post("/api/thing")
    def write() -> str:
        guard.audit("thing", 1)
        return guard.caller().name

    @app.get("/api/paper")
    @guard.needs(Scope.DOCUMENTS)
    def paper() -> str:
        return "paper"

    @app.get("/api/bug")
    def bug() -> str:
        raise ZeroDivisionError("a secret in a message")

    return app


@pytest.fixture
def browser(app: Flask) -> FlaskClient:
    return app.test_client()


def sign_in(browser: FlaskClient, token: str = ADMIN, to: str = "/api/thing") -> int:
    page = browser.get("/login").get_data(as_text=True)
    form = {"token": token, "csrf_token": form_token(page), "next": to}
    return browser.post("/login", data=form).status_code


def form_token(page: str) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert found is not None
    return found[1]


def test_a_write_needs_a_token(browser: FlaskClient) -> None:
    answer = browser.post("/api/thing")
    assert answer.status_code == 401
    assert answer.get_json()["error"] == "unauthorized"
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_bearer_token_writes_without_a_form(browser: FlaskClient) -> None:
    answer = browser.post("/api/thing", headers={"Authorization": f"Bearer {ADMIN}"})
    assert (answer.status_code, answer.get_data(as_text=True)) == (200, "admin")


def test_a_token_without_the_scope_is_forbidden(browser: FlaskClient) -> None:
    answer = browser.post("/api/thing", headers={"Authorization": "Bearer reader-0123456789abcd"})
    assert (answer.status_code, answer.get_json()["error"]) == (403, "forbidden")
    answer = browser.get("/api/paper", headers={"Authorization": "Bearer reader-0123456789abcd"})
    assert answer.status_code == 403


def test_a_session_writes_with_the_token_of_its_form_only(browser: FlaskClient) -> None:
    assert sign_in(browser) == 302
    assert browser.post("/api/thing").get_json()["error"] == "cross_site"
    token = form_token(browser.get("/login").get_data(as_text=True))
    assert browser.post("/api/thing", data={"csrf_token": token}).status_code == 200
    assert browser.post("/api/thing", headers={"X-CSRFToken": token}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}],
)
def test_another_sites_page_cannot_write(browser: FlaskClient, headers: dict[str, str]) -> None:
    sign_in(browser)
    token = form_token(browser.get("/login").get_data(as_text=True))
    answer = browser.post("/api/thing", headers={"X-CSRFToken": token, **headers})
    assert (answer.status_code, answer.get_json()["error"]) == (403, "cross_site")


def test_a_session_ends_after_a_working_day(browser: FlaskClient, clock: Clock) -> None:
    sign_in(browser)
    assert browser.get("/api/thing").get_data(as_text=True) == "admin"
    clock.now += guard.SESSION_S + 1
    assert browser.get("/api/thing").get_data(as_text=True) == "local"


def test_signing_out_ends_the_session(browser: FlaskClient) -> None:
    sign_in(browser)
    token = form_token(browser.get("/login").get_data(as_text=True))
    browser.post("/logout", data={"csrf_token": token})
    assert browser.get("/api/thing").get_data(as_text=True) == "local"


def test_the_session_cookie_stays_with_this_site(browser: FlaskClient) -> None:
    page = browser.get("/login").get_data(as_text=True)
    answer = browser.post("/login", data={"token": ADMIN, "csrf_token": form_token(page)})
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert ADMIN not in cookie


def test_guessing_is_slowed_down_even_for_the_right_token(browser: FlaskClient) -> None:
    codes = [sign_in(browser, "wrong") for _ in range(guard.TRIES_PER_MINUTE + 1)]
    assert codes == [401] * guard.TRIES_PER_MINUTE + [429]
    assert sign_in(browser) == 429
    guesses = [browser.get("/api/thing", headers={"Authorization": "Bearer guess"}) for _ in range(2)]
    assert [each.status_code for each in guesses] == [429, 429]
    assert guesses[0].headers["Retry-After"] == "60"


@pytest.mark.parametrize("target", ["//evil.example/", "https://evil.example/", "/\\evil.example", "evil"])
def test_signing_in_never_leads_to_another_site(browser: FlaskClient, target: str) -> None:
    page = browser.get("/login").get_data(as_text=True)
    answer = browser.post("/login", data={"token": ADMIN, "csrf_token": form_token(page), "next": target})
    assert answer.headers["Location"] == "/"


def test_another_host_gets_nothing_not_even_the_form(browser: FlaskClient) -> None:
    for path in ("/login", "/healthz", "/static/deedbox.css", "/api/thing"):
        answer = browser.get(path, headers={"Host": "evil.example"})
        assert answer.status_code == 400, path


def test_a_bug_is_one_sentence(browser: FlaskClient) -> None:
    answer = browser.get("/api/bug")
    assert answer.status_code == 500
    assert answer.get_json() == {
        "error": "internal_error",
        "detail": "the request could not be handled; see the log of ops",
    }


def test_every_answer_has_the_headers_that_keep_content_in_its_place(browser: FlaskClient) -> None:
    for path in ("/login", "/api/thing", "/api/bug", "/nowhere"):
        headers = browser.get(path).headers
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"


def test_behind_a_proxy_a_page_leads_to_the_sign_in_and_back(browser: FlaskClient) -> None:
    answer = browser.get("/requests?q=1", headers={"X-Forwarded-For": "10.0.0.1"})
    assert (answer.status_code, answer.headers["Location"]) == (302, "/login?next=/requests?q%3D1")


def test_a_redis_that_does_not_answer_is_one_sentence_on_a_page(browser: FlaskClient) -> None:
    answer = browser.get("/")
    assert answer.status_code == 503
    assert "deedbox check" in answer.get_data(as_text=True)


def test_every_reason_has_a_status() -> None:
    assert set(errors.STATUS) == set(Refused)


def test_the_place_of_the_token_is_shown_on_this_machine_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    client = create_app(
        Settings.load({"DEEDBOX_DATA_DIR": "var", "DEEDBOX_REDIS_URL": "redis://127.0.0.1:1/0"})
    ).test_client()
    place = str(tmp_path / "var" / "ops" / "token")
    assert place in client.get("/login").text
    assert place not in client.get("/login", headers={"X-Forwarded-For": "10.0.0.1"}).text
