"""The guard around a small application of its own: what a browser, a program and another site's page meet."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from deedbox.ops import sessions
from deedbox.ops.sessions import SecretFiles
from deedbox.ops.web import errors
from deedbox.ops.web.app import create_app
from deedbox.ops.web.auth import attempts, guard, session
from deedbox.ops.web.auth.access import Refused
from deedbox.ops.web.auth.tokens import Scope
from deedbox.shared.settings import Settings

ADMIN = "admin-0123456789abcdef"
READER = "reader-0123456789abcd"


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def settings_of(tmp_path: Path, **environ: str) -> Settings:
    tokens = {
        "admin": {"token": ADMIN, "scopes": ["read", "write"]}, "reader": {"token": READER, "scopes": ["read"]},
    }  # fmt: skip
    usual = {"DEEDBOX_DATA_DIR": str(tmp_path), "DEEDBOX_REDIS_URL": "redis://127.0.0.1:1/0"}
    return Settings.load({**usual, "DEEDBOX_OPS_TOKENS": json.dumps(tokens), **environ})


@pytest.fixture
def app(tmp_path: Path, clock: Clock) -> Flask:
    return with_routes(create_app(settings_of(tmp_path), clock))


@pytest.fixture
def links(tmp_path: Path, clock: Clock) -> SecretFiles:
    """Make links as `deedbox sign-in` does, in another process."""
    return sessions.links(settings_of(tmp_path), clock)


def with_routes(app: Flask) -> Flask:
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
    return browser.post("/login", data={"token": token, "next": to}).status_code


def cookie(browser: FlaskClient) -> str:
    found = browser.get_cookie("deedbox_ops")
    assert found is not None
    return found.value


def form_token(page: str) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert found is not None
    return found[1]


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
