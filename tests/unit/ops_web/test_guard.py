"""The guard around a small application of its own: what a browser, a program and another site's page meet."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from deedbox.ops.sessions import SecretFiles
from deedbox.ops.web import errors
from deedbox.ops.web.app import create_app
from deedbox.ops.web.auth import attempts, session
from deedbox.ops.web.auth.access import Refused
from deedbox.shared.settings import Settings
from tests.unit.ops_web.guarded import (
    ADMIN,
    READER,
    Clock,
    form_token,
    settings_of,
    sign_in,
    with_routes,
)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "headers", [{}, {"X-Forwarded-For": "127.0.0.1"}, {"X-Forwarded-User": "jane"}, {"Origin": "null"}]
)
def test_nothing_is_read_or_written_without_a_token(
    browser: FlaskClient, method: str, headers: dict[str, str]
) -> None:
    answer = browser.open("/api/thing", method=method, headers=headers if method == "GET" else {})
    assert answer.status_code == 401
    assert answer.get_json()["error"] == "unauthorized"
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("headers", [{}, {"Authorization": f"Bearer {READER}"}])
def test_what_takes_no_such_method_says_so_and_asks_for_no_token(
    browser: FlaskClient, headers: dict[str, str]
) -> None:
    answer = browser.post("/api/requests/r1", headers=headers)
    assert (answer.status_code, answer.get_json()["error"]) == (405, "method_not_allowed")


def test_a_wrong_token_is_told_without_the_name_of_a_setting(browser: FlaskClient) -> None:
    answer = browser.get("/api/thing", headers={"Authorization": "Bearer wrong"})
    assert (answer.status_code, answer.get_json()["detail"]) == (401, "that token is not valid here")


def test_a_bearer_token_writes_without_a_form(browser: FlaskClient) -> None:
    answer = browser.post("/api/thing", headers={"Authorization": f"Bearer {ADMIN}"})
    assert (answer.status_code, answer.get_data(as_text=True)) == (200, "admin")


def test_a_token_without_the_scope_is_forbidden(browser: FlaskClient) -> None:
    answer = browser.post("/api/thing", headers={"Authorization": f"Bearer {READER}"})
    assert (answer.status_code, answer.get_json()["error"]) == (403, "forbidden")
    answer = browser.get("/api/paper", headers={"Authorization": f"Bearer {READER}"})
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}],
)
def test_another_sites_page_cannot_write(browser: FlaskClient, headers: dict[str, str]) -> None:
    sign_in(browser)
    token = form_token(browser.get("/login").get_data(as_text=True))
    answer = browser.post("/api/thing", headers={"X-CSRFToken": token, **headers})
    assert (answer.status_code, answer.get_json()["error"]) == (403, "cross_site")


def test_guessing_is_slowed_down_even_for_the_right_token(browser: FlaskClient) -> None:
    """Else guessing would go on, and only the last guess be answered."""
    codes = [sign_in(browser, "wrong") for _ in range(attempts.TRIES_PER_MINUTE + 1)]
    assert codes == [401] * attempts.TRIES_PER_MINUTE + [429]
    assert sign_in(browser) == 429
    bearers = ("Bearer guess", f"Bearer {ADMIN}")
    guesses = [browser.get("/api/thing", headers={"Authorization": each}) for each in bearers]
    assert [each.status_code for each in guesses] == [429, 429]
    assert guesses[0].headers["Retry-After"] == "60"


def test_who_guesses_does_not_lock_out_the_owner(app: Flask, links: SecretFiles) -> None:
    """Neither a program whose token was right before, nor another address, nor who opens a link."""
    browser = app.test_client()
    program = {"Authorization": f"Bearer {READER}"}
    assert browser.get("/api/thing", headers=program).status_code == 200
    while sign_in(browser, "guess") != 429:
        pass
    assert browser.get("/api/thing", headers=program).status_code == 200
    elsewhere = {"REMOTE_ADDR": "192.0.2.7"}
    assert browser.post("/login", data={"token": ADMIN}, environ_base=elsewhere).status_code == 302
    fresh = app.test_client()
    assert fresh.get(f"/sign-in?link={links.create({})}").status_code == 302
    assert fresh.get("/api/thing").text == "owner"


def test_variants_of_one_token_are_limited_over_all_addresses(app: Flask) -> None:
    codes = [
        app.test_client()
        .get(
            "/api/thing",
            headers={"Authorization": f"Bearer admi{number}"},
            environ_base={"REMOTE_ADDR": f"192.0.2.{number}"},
        )
        .status_code
        for number in range(attempts.PREFIX_TRIES_PER_MINUTE + 1)
    ]
    assert codes == [401] * attempts.PREFIX_TRIES_PER_MINUTE + [429]


def test_a_person_whom_a_trusted_proxy_has_signed_in_writes_with_a_form(tmp_path: Path, clock: Clock) -> None:
    settings = settings_of(
        tmp_path, DEEDBOX_OPS_PROXY_USER_HEADER="X-Forwarded-User", DEEDBOX_OPS_TRUSTED_PROXIES="127.0.0.1"
    )
    app = with_routes(create_app(settings, clock))
    browser = app.test_client()
    named = {"X-Forwarded-User": "jane@example.com"}
    assert browser.get("/api/thing", headers=named).text == "jane@example.com"
    assert browser.post("/api/thing", headers=named).get_json()["error"] == "cross_site"
    form = form_token(browser.get("/login", headers=named).text)
    assert browser.post("/api/thing", headers=named, data={"csrf_token": form}).text == "jane@example.com"
    assert browser.get("/api/thing").status_code == 401  # the cookie alone is nobody
    elsewhere = {"REMOTE_ADDR": "192.0.2.7"}
    assert browser.get("/api/thing", headers=named, environ_base=elsewhere).status_code == 401


def test_a_form_from_a_page_of_our_own_name_is_ours_though_the_proxy_asks_with_another(
    tmp_path: Path, clock: Clock
) -> None:
    browser = create_app(settings_of(tmp_path, DEEDBOX_OPS_HOSTS="ops.example.com"), clock).test_client()
    for origin, code in (
        ("https://ops.example.com", 302),
        ("https://evil.example", 403),
        ("http://localhost:3000", 403),
    ):
        answer = browser.post("/login", data={"token": ADMIN}, headers={"Origin": origin})
        assert answer.status_code == code, origin


@pytest.mark.parametrize(
    ("target", "path"),
    [
        *(
            (each, "/")
            for each in ("//evil.example/", "https://evil.example/", "evil", "javascript:alert(1)", "")
        ),
        ("///evil.example", "/evil.example"),
        ("/\\evil.example", "/evil.example"),
        ("/\t/evil.example", "/"),
        ("/%5Cevil.example", "/%5Cevil.example"),
        ("/requests?q=a%20b&x=//y", "/requests?q=a%20b&x=//y"),
    ],
)
def test_signing_in_never_leads_to_another_site(browser: FlaskClient, target: str, path: str) -> None:
    with browser.application.test_request_context():
        assert session.own_path(target) == path
    answer = browser.post("/login", data={"token": ADMIN, "next": target})
    assert answer.headers["Location"] == path


def test_another_host_gets_nothing_not_even_the_form(browser: FlaskClient) -> None:
    for path in ("/login", "/healthz", "/static/deedbox.css", "/api/thing"):
        answer = browser.get(path, headers={"Host": "evil.example"})
        assert answer.status_code == 400, path


def test_a_bug_is_one_sentence(browser: FlaskClient) -> None:
    sign_in(browser)
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


def test_a_page_leads_to_the_sign_in_and_back(browser: FlaskClient) -> None:
    answer = browser.get("/requests?q=1")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/login?next=/requests?q%3D1")


def test_a_redis_that_does_not_answer_is_one_sentence_on_a_page(browser: FlaskClient) -> None:
    """A person signs in and looks though Redis is away: that is when they want to."""
    sign_in(browser)
    answer = browser.get("/")
    assert answer.status_code == 503
    assert "deedbox check" in answer.get_data(as_text=True)


def test_every_reason_has_a_status() -> None:
    assert set(errors.STATUS) == set(Refused)


def test_the_sign_in_says_no_path_of_this_machine(tmp_path: Path) -> None:
    client = create_app(
        Settings.load({"DEEDBOX_DATA_DIR": str(tmp_path), "DEEDBOX_REDIS_URL": "redis://127.0.0.1:1/0"})
    ).test_client()
    assert (tmp_path / "ops" / "token").exists()
    assert str(tmp_path) not in client.get("/login").text
