"""Flask's session as a file of the server: the cookie holds nothing but the random name of it."""

from __future__ import annotations

import hmac
import secrets
from contextlib import suppress
from typing import Any, Final

from flask import Flask, Request, Response, g, request, session
from flask.sessions import SessionInterface, SessionMixin
from werkzeug.datastructures import CallbackDict

from deedbox.ops.sessions import SESSION_S, SecretFiles
from deedbox.shared.core.errors import SettingsError

COOKIE: Final = "deedbox_ops"
_CSRF: Final = "csrf"


class WebSession(CallbackDict[str, Any], SessionMixin):
    """What the server remembers of one browser."""

    def __init__(self, content: dict[str, Any], secret: str | None) -> None:
        def changed(_self: Any) -> None:
            self.modified = True

        super().__init__(content, changed)
        self.secret = secret
        """The cookie; None: the browser has none yet."""
        self.old: str | None = None
        """The cookie of the session that this one follows; it ends."""
        self.is_new = False
        self.modified = False

    def end(self) -> None:
        """Forget everything, the name too: what somebody planted before a sign-in opens nothing after it."""
        self.clear()
        self.old, self.secret = self.secret, None

    def begin(self, files: SecretFiles, content: dict[str, Any]) -> None:
        """End this session and begin another one. Raises SettingsError if the data directory cannot be written."""
        self.end()
        self.update(content)
        self.secret, self.is_new = files.create(self), True


class WebSessions(SessionInterface):
    """Keeps sessions in files. A browser that is not signed in leaves nothing behind."""

    def __init__(self, files: SecretFiles) -> None:
        self._files = files

    def open_session(self, app: Flask, request: Request) -> WebSession:
        """Read the session that the cookie names."""
        del app
        secret = request.cookies.get(COOKIE)
        found = None if secret is None else self._files.read(secret)
        return WebSession({}, None) if found is None else WebSession(found, secret)

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Write what has changed."""
        del app
        if not isinstance(session, WebSession) or not session.modified:
            return
        if session.old is not None:
            self._files.take(session.old)
        if not session:
            response.delete_cookie(COOKIE)
        elif session.is_new and session.secret is not None:
            _set(response, session.secret)
        elif session.secret is not None:
            self._files.replace(session.secret, session)
        elif _may_begin():
            with suppress(SettingsError):  # the form that it was for says that its session is gone
                _set(response, self._files.create(session))


def _set(response: Response, secret: str) -> None:
    # Lax, not Strict: a link in an alert leads to a page that the reader may see. Each write needs the form's token.
    response.set_cookie(
        COOKIE, secret, max_age=SESSION_S, httponly=True, samesite="Lax", secure=_behind_tls()
    )


def csrf_token() -> str:
    """Return the random text that proves a form to be from a page of this session."""
    if _CSRF not in session:
        session[_CSRF] = secrets.token_urlsafe(24)
    return str(session[_CSRF])


def is_ours(presented: str) -> bool:
    """Tell whether a form's text is this session's."""
    mine = session.get(_CSRF)
    return isinstance(mine, str) and hmac.compare_digest(mine.encode(), presented.encode("utf-8", "replace"))


def _may_begin() -> bool:
    """Tell whether a session may begin without a sign-in: for a user whom a proxy names, who needs forms too."""
    caller = g.get("caller")
    return caller is not None and not caller.by_bearer


def _behind_tls() -> bool:
    """Tell whether the browser speaks TLS, to a proxy: the browser itself says so when it sends a form."""
    told = request.headers.get("Origin", "").startswith("https://")
    return told or request.is_secure or request.headers.get("X-Forwarded-Proto", "").lower() == "https"
