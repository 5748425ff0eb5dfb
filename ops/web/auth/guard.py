"""Access control as Flask sees it: before each request, who asks; with each write, that a person meant it.

A view names its scope with ``@needs(Scope.WRITE)``; without it, reading is assumed for safe methods and writing for
the others, so that a forgotten decorator closes rather than opens.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final, TypeVar, cast
from urllib.parse import urlsplit

from flask import Flask, Response, current_app, g, request, session
from flask_wtf.csrf import CSRFProtect, ValidationError, validate_csrf
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from deedbox.ops.web.auth.access import AccessPolicy, Caller, Denied, Question, Refused, decide
from deedbox.ops.web.auth.tokens import Scope, Token, Tokens
from deedbox.ops.web.errors import OpsError
from deedbox.shared.runtime import logs

SESSION_S: Final = 8 * 3600
"""A working day; after it a person signs in again."""

TRIES_PER_MINUTE: Final = 5
"""Wrong tokens from one address; then it waits. A token of 24 random bytes needs no more protection than that."""

ALL_TRIES_PER_MINUTE: Final = 60
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
PUBLIC: Final = "_deedbox_public"
SCOPE: Final = "_deedbox_scope"

View = TypeVar("View", bound=Callable[..., Any])

_audit = logs.get("audit")
_log = logs.get("ops")


def needs(scope: Scope) -> Callable[[View], View]:
    """Mark a view with the scope that it needs."""

    def mark(view: View) -> View:
        setattr(view, SCOPE, scope)
        return view

    return mark


def public(view: View) -> View:
    """Mark a view that needs no caller: signing in, static files, health. The Host check stays."""
    setattr(view, PUBLIC, True)
    return view


def caller() -> Caller:
    """Return who asks."""
    return cast("Caller", g.caller)


def audit(what: str, count: int, **details: object) -> None:
    """Log a write: who, what, how many. Details are ids and names, never payloads."""
    _audit.info("ops.write", who=caller().name, what=what, count=count, **details)


class Guard:
    """Installs itself in an application."""

    def __init__(
        self, app: Flask, tokens: Tokens, policy: AccessPolicy, clock: Callable[[], float] = time.time
    ) -> None:
        self._tokens = tokens
        self._policy = policy
        self._clock = clock
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        app.config.update(
            SECRET_KEY=tokens.session_key(),
            SESSION_COOKIE_NAME="deedbox_ops",
            SESSION_COOKIE_HTTPONLY=True,
            SESSION_COOKIE_SAMESITE="Strict",
            WTF_CSRF_CHECK_DEFAULT=False,
            WTF_CSRF_TIME_LIMIT=SESSION_S,
        )
        CSRFProtect(app)
        app.before_request(self._before)

    def sign_in(self, presented: str) -> Token:
        """Open a session with a token. Raises OpsError: wrong, or too many wrong ones."""
        self._slow_down()
        token = self._tokens.find(presented.strip())
        if token is None:
            self._note_wrong()
            raise OpsError(Refused.WRONG_TOKEN, "that token is not valid here")
        session.clear()  # nothing that was set before the sign-in survives it
        session["who"] = token.name
        session["until"] = self._clock() + SESSION_S
        _audit.info("ops.signed_in", who=token.name)
        return token

    def _before(self) -> None:
        view = current_app.view_functions.get(request.endpoint or "")
        is_public = getattr(view, PUBLIC, False) or request.endpoint == "static"
        answer = decide(self._question(view), self._policy)
        if isinstance(answer, Denied):
            if answer.reason is Refused.WRONG_TOKEN:
                self._slow_down()
                self._note_wrong()
            if not is_public or answer.reason is Refused.BAD_HOST:
                raise OpsError(answer.reason, answer.detail)
            g.caller = None
        else:
            g.caller = answer
        if request.method not in SAFE:
            self._demand_intent(by_bearer=g.caller is not None and g.caller.by_bearer)

    def _question(self, view: object) -> Question:
        bearer = None
        if request.authorization is not None and request.authorization.type == "bearer":
            bearer = request.authorization.token or ""
        default = Scope.READ if request.method in SAFE else Scope.WRITE
        return Question(
            host=request.environ.get("HTTP_HOST", ""),
            peer=request.remote_addr or "",
            headers=frozenset(name.lower() for name, _ in request.headers),
            bearer=bearer,
            bearer_token=None if bearer is None else self._tokens.find(bearer),
            session_token=self._session_token(),
            scope=getattr(view, SCOPE, default),
        )

    def _session_token(self) -> Token | None:
        until = session.get("until")
        if not isinstance(until, int | float) or until < self._clock():
            return None
        return self._tokens.named(str(session.get("who")))

    def _demand_intent(self, *, by_bearer: bool) -> None:
        """Refuse a write that another site's page may have caused."""
        origin = request.headers.get("Origin")
        foreign = origin is not None and urlsplit(origin).netloc != request.environ.get("HTTP_HOST", "")
        if foreign or request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
            raise OpsError(Refused.CROSS_SITE, "a page of another site sent this; open the dashboard itself")
        if by_bearer:
            return
        try:
            validate_csrf(request.headers.get("X-CSRFToken") or request.form.get("csrf_token", ""))
        except ValidationError:
            detail = (
                "the form is older than its session, or not from the dashboard; reload the page and try again"
            )
            raise OpsError(Refused.CROSS_SITE, detail) from None

    def _slow_down(self) -> None:
        address = request.remote_addr or ""
        if not (
            self._limiter.test(RateLimitItemPerMinute(TRIES_PER_MINUTE), "wrong", address)
            and self._limiter.test(RateLimitItemPerMinute(ALL_TRIES_PER_MINUTE), "wrong")
        ):
            raise OpsError(Refused.TOO_MANY_TRIES, "too many wrong tokens; wait a minute")

    def _note_wrong(self) -> None:
        self._limiter.hit(RateLimitItemPerMinute(TRIES_PER_MINUTE), "wrong", request.remote_addr or "")
        self._limiter.hit(RateLimitItemPerMinute(ALL_TRIES_PER_MINUTE), "wrong")
        _log.warning("ops.wrong_token", path=request.path)


def signed_out() -> None:
    """End the session."""
    session.clear()


def secured(response: Response) -> Response:
    """Add the headers that keep a page's content where it is."""
    response.headers.setdefault(
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    )
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["X-Frame-Options"] = "DENY"
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    if request.endpoint == "static" and response.status_code < HTTPStatus.BAD_REQUEST:
        return response
    # Assigned: Flask makes a file public. What has an ETag, a document, may be kept by its reader, who asks each time.
    response.headers["Cache-Control"] = "private, no-cache" if "ETag" in response.headers else "no-store"
    response.headers.pop("Expires", None)
    return response
