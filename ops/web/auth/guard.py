"""Access control as Flask sees it: before each request, who asks; with each write, that a person meant it.

A view names its scope with ``@needs(Scope.WRITE)``; without it, reading is assumed for safe methods and writing for
the others, so that a forgotten decorator closes rather than opens.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, TypeVar, cast
from urllib.parse import urlsplit

from flask import Flask, Response, current_app, g, request, session
from werkzeug.exceptions import MethodNotAllowed

from deedbox.ops.installation import Installation
from deedbox.ops.sessions import SESSION_S, SecretFiles
from deedbox.ops.web.auth import web_session
from deedbox.ops.web.auth.access import (
    LOCAL_HOSTS,
    AccessPolicy,
    Caller,
    Denied,
    Question,
    Refused,
    client_of,
    decide,
    host_name,
)
from deedbox.ops.web.auth.attempts import Attempts
from deedbox.ops.web.auth.tokens import ALL_SCOPES, Scope, Tokens
from deedbox.ops.web.auth.web_session import WebSession, WebSessions
from deedbox.ops.web.errors import OpsError
from deedbox.shared.audit import AuditLine, Way
from deedbox.shared.audit.audit_log import AuditLog
from deedbox.shared.runtime import logs

OWNER: Final = "owner"
"""Who signed in with a link: somebody who can read and write the data directory."""

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
PUBLIC: Final = "_deedbox_public"
IMPERSONAL: Final = "_deedbox_impersonal"
SCOPE: Final = "_deedbox_scope"

View = TypeVar("View", bound=Callable[..., Any])

_TOO_MANY: Final = (
    "too many wrong tokens from this address; wait a minute, or run `deedbox sign-in` on the machine of ops"
)

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


def impersonal(view: View) -> View:
    """Mark a view whose answer holds figures only: no payload, no title, no id of a request."""
    setattr(view, IMPERSONAL, True)
    return view


def caller() -> Caller:
    """Return who asks."""
    return cast("Caller", g.caller)


def auditing(installation: Installation) -> AuditLog:
    """Return where the operations of the caller are recorded: in Redis as all are, and in the log of this process."""
    way = Way.API if caller().by_bearer else Way.DASHBOARD
    return AuditLog(lambda: installation.scripts, caller().name, way, _not_recorded, _logged)


def _logged(line: AuditLine) -> None:
    _audit.info(
        "ops.write", who=line.who, way=line.way, what=line.operation, count=line.count, asked=dict(line.asked)
    )


def _not_recorded(sentence: str) -> None:
    _audit.error("ops.not_recorded", detail=sentence)


_WHO: Final = frozenset({Refused.UNAUTHORIZED, Refused.FORBIDDEN})


@dataclass
class Guard:
    """Installs itself in an application."""

    app: Flask
    tokens: Tokens
    policy: AccessPolicy
    sessions: SecretFiles
    links: SecretFiles
    clock: Callable[[], float] = time.time
    """Unix seconds."""

    def __post_init__(self) -> None:
        """Be asked before each request."""
        self._attempts = Attempts()
        self.app.session_interface = WebSessions(self.sessions)
        self.app.jinja_env.globals["csrf_token"] = web_session.csrf_token
        self.app.before_request(self._before)

    def sign_in(self, presented: str) -> None:
        """Open a session with a token. Raises OpsError: wrong, or too many wrong ones."""
        presented = presented.strip()
        token = self.tokens.find(presented)
        if not self._attempts.admits(self._client(), presented, token):
            raise OpsError(Refused.TOO_MANY_TRIES, _TOO_MANY)
        if token is None:
            _log.warning("ops.wrong_token", path=request.path)
            raise OpsError(Refused.WRONG_TOKEN, "that token is not valid here")
        self._begin(token.name, token=token.digest)

    def redeem(self, link: str) -> bool:
        """Open a session with a link; False: it was used, is too old, or never was."""
        if self.links.take(link) is None:
            return False
        self._begin(OWNER)
        return True

    def _begin(self, who: str, **more: str) -> None:
        content = {"who": who, "until": self.clock() + SESSION_S, **more}
        cast("WebSession", session).begin(self.sessions, content)
        _audit.info("ops.signed_in", who=who)

    def _before(self) -> None:
        view = current_app.view_functions.get(request.endpoint or "")
        is_public = getattr(view, PUBLIC, False) or request.endpoint == "static"
        question = self._question(view)
        answer = decide(question, self.policy)
        if question.bearer is not None and not self._attempts.admits(
            self._client(), question.bearer, question.bearer_token
        ):
            answer = Denied(Refused.TOO_MANY_TRIES, _TOO_MANY)
        if isinstance(answer, Denied):
            if answer.reason is Refused.WRONG_TOKEN:
                _log.warning("ops.wrong_token", path=request.path)
            if isinstance(request.routing_exception, MethodNotAllowed) and answer.reason in _WHO:
                raise request.routing_exception  # no token would help
            if not is_public or answer.reason in {Refused.BAD_HOST, Refused.TOO_MANY_TRIES}:
                raise OpsError(answer.reason, answer.detail)
            g.caller = None
        else:
            g.caller = answer
        if request.method not in SAFE:
            self._demand_intent()

    def _question(self, view: object) -> Question:
        bearer = None
        if request.authorization is not None and request.authorization.type == "bearer":
            bearer = request.authorization.token or ""
        default = Scope.READ if request.method in SAFE else Scope.WRITE
        return Question(
            host=request.environ.get("HTTP_HOST", ""),
            peer=request.remote_addr or "",
            scope=getattr(view, SCOPE, default),
            bearer=bearer,
            bearer_token=None if bearer is None else self.tokens.find(bearer),
            session=self._session_caller(),
            proxy_user=request.headers.get(self.policy.user_header, "") if self.policy.user_header else "",
            impersonal=getattr(view, IMPERSONAL, False),
        )

    def _session_caller(self) -> Caller | None:
        until = session.get("until")
        if not isinstance(until, int | float) or until < self.clock():
            return None
        if "token" not in session:
            return Caller(str(session.get("who")), ALL_SCOPES)
        token = self.tokens.of(str(session["token"]))
        return None if token is None else Caller(token.name, token.scopes)

    def _client(self) -> str:
        forwarded = request.headers.get("X-Forwarded-For", "")
        return client_of(request.remote_addr or "", forwarded, self.policy.proxies)

    def _demand_intent(self) -> None:
        """Refuse a write that another site's page may have caused."""
        if self._is_foreign() or request.headers.get("Sec-Fetch-Site", "same-origin") not in {
            "same-origin",
            "none",
        }:
            raise OpsError(Refused.CROSS_SITE, "a page of another site sent this; open the dashboard itself")
        # Nobody yet: the form of the sign-in itself, which has no session to protect.
        if g.caller is None or g.caller.by_bearer:
            return
        if not web_session.is_ours(request.headers.get("X-CSRFToken") or request.form.get("csrf_token", "")):
            detail = (
                "the form is older than its session, or not from the dashboard; reload the page and try again"
            )
            raise OpsError(Refused.CROSS_SITE, detail)

    def _is_foreign(self) -> bool:
        origin = request.headers.get("Origin")
        if origin is None:
            return False
        named = urlsplit(origin).netloc
        # A proxy may ask with a Host of its own; then the page's name has to be one of DEEDBOX_OPS_HOSTS.
        ours = self.policy.hosts - LOCAL_HOSTS
        return named != request.environ.get("HTTP_HOST", "") and host_name(named) not in ours


def signed_out() -> None:
    """End the session: its cookie opens nothing any more."""
    cast("WebSession", session).end()


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
