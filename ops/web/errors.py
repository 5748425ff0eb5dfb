"""Error answers of ops: JSON for programs, a page for people; never a traceback, a secret or a payload."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final

from flask import Flask, Response, jsonify, redirect, render_template, request, url_for
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as BaseResponse

from deedbox.ops.web.auth.access import Refused
from deedbox.shared.core.errors import DeedboxError, SettingsError, Unavailable
from deedbox.shared.runtime import logs

_log = logs.get("ops")

STATUS: Final[Mapping[Refused, HTTPStatus]] = {
    Refused.BAD_HOST: HTTPStatus.BAD_REQUEST,
    Refused.UNAUTHORIZED: HTTPStatus.UNAUTHORIZED,
    Refused.WRONG_TOKEN: HTTPStatus.UNAUTHORIZED,
    Refused.TOO_MANY_TRIES: HTTPStatus.TOO_MANY_REQUESTS,
    Refused.FORBIDDEN: HTTPStatus.FORBIDDEN,
    Refused.CROSS_SITE: HTTPStatus.FORBIDDEN,
    Refused.BAD_REQUEST: HTTPStatus.BAD_REQUEST,
    Refused.NOT_FOUND: HTTPStatus.NOT_FOUND,
    Refused.METHOD_NOT_ALLOWED: HTTPStatus.METHOD_NOT_ALLOWED,
    Refused.GONE: HTTPStatus.GONE,
    Refused.RANGE_NOT_SATISFIABLE: HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
    Refused.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    Refused.INTERNAL_ERROR: HTTPStatus.INTERNAL_SERVER_ERROR,
}
RETRY_AFTER_S: Final = {Refused.TOO_MANY_TRIES: 60, Refused.UNAVAILABLE: 5}

API_PREFIXES: Final = ("/api/", "/metrics", "/healthz")


class OpsError(Exception):
    """An answer that is an error: a reason of the closed list, one sentence, and what a program may go on with."""

    def __init__(self, reason: Refused, detail: str, **more: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.more = more


def install(app: Flask, explained: Callable[[DeedboxError], str] = str) -> None:
    """Answer every error of an application. ``explained`` makes the sentence of what does not answer."""

    def _unavailable(error: Unavailable | SettingsError) -> BaseResponse:
        return _answer(OpsError(Refused.UNAVAILABLE, explained(error)))

    app.register_error_handler(OpsError, _answer)
    app.register_error_handler(HTTPException, _of_flask)
    app.register_error_handler(Unavailable, _unavailable)
    # Settings are checked at the start: what is missing later is the embedded Redis, which is not running.
    app.register_error_handler(SettingsError, _unavailable)
    app.register_error_handler(DeedboxError, _of_deedbox)
    app.register_error_handler(Exception, _bug)


def wants_json() -> bool:
    """Tell whether a program asks."""
    return request.path.startswith(API_PREFIXES)


def _answer(error: OpsError) -> BaseResponse:
    if error.reason is Refused.UNAUTHORIZED and not wants_json() and request.method == "GET":
        return redirect(url_for("session.login", next=request.full_path.rstrip("?")))
    status = STATUS[error.reason]
    if wants_json():
        response: Response = jsonify(error=str(error.reason), detail=error.detail, **error.more)
    else:
        response = Response(
            render_template("error.html", status=int(status), title=status.phrase, detail=error.detail)
        )
    response.status_code = int(status)
    if status is HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = 'Bearer realm="deedbox"'
    if error.reason in RETRY_AFTER_S:
        response.headers["Retry-After"] = str(RETRY_AFTER_S[error.reason])
    return response


def _of_flask(error: HTTPException) -> BaseResponse:
    if error.code is not None and error.code < HTTPStatus.BAD_REQUEST:
        return error.get_response()
    if error.code == HTTPStatus.NOT_FOUND:
        return _answer(OpsError(Refused.NOT_FOUND, "there is nothing at this address"))
    if error.code == HTTPStatus.METHOD_NOT_ALLOWED:
        answer = _answer(OpsError(Refused.METHOD_NOT_ALLOWED, "this address does not take this method"))
        answer.headers["Allow"] = dict(error.get_headers()).get("Allow", "GET")
        return answer
    if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        answer = _answer(OpsError(Refused.RANGE_NOT_SATISFIABLE, "the Range lies outside of the document"))
        answer.headers["Content-Range"] = dict(error.get_headers()).get("Content-Range", "bytes */*")
        return answer
    if error.code is not None and error.code < HTTPStatus.INTERNAL_SERVER_ERROR:
        return _answer(
            OpsError(Refused.BAD_REQUEST, "the request is not of the form that this address expects")
        )
    return _bug(error)


def _of_deedbox(error: DeedboxError) -> BaseResponse:
    return _answer(OpsError(Refused.BAD_REQUEST, str(error)))


def _bug(error: Exception) -> BaseResponse:
    _log.error(
        "request.failed",
        exception=type(error).__name__,
        frames=logs.frames(error.__traceback__),
        path=request.path,
    )
    return _answer(OpsError(Refused.INTERNAL_ERROR, "the request could not be handled; see the log of ops"))
