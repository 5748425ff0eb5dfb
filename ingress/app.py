"""Composition root of ingress: the routes, and the one place that builds what they need.

``create_blueprint`` can be mounted in an application of your own; ``create_app`` is the whole web process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial
from http import HTTPStatus
from io import BytesIO
from typing import TYPE_CHECKING, Final

from flask import Blueprint, Flask, Request, Response, jsonify, request
from werkzeug.exceptions import ClientDisconnected, HTTPException, RequestEntityTooLarge
from werkzeug.routing import MapAdapter
from werkzeug.wsgi import get_content_length, get_input_stream

from deedbox.ingress.monitor.counters import Intake
from deedbox.ingress.monitor.readiness import Readiness
from deedbox.ingress.mount import Mounted, broker_of, policy_of
from deedbox.ingress.publish.background import Link
from deedbox.ingress.receive.ladder import RefusedCallback
from deedbox.ingress.receive.receiver import (
    NOT_KEPT,
    CutShort,
    HttpAnswer,
    ReadBefore,
    Reception,
    answer_of,
    report_failure,
)
from deedbox.shared.core.reasons import Refusal
from deedbox.shared.runtime.wsgi_call import LATER, Later, WsgiReply
from deedbox.shared.settings import Settings
from deedbox.shared.sources import Source

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

EXTENSION: Final = "deedbox"
"""Where ``app.extensions`` has the Handover of an application."""

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""All of them reach the view: a 405 of Flask's own would be answered by the host application's handlers."""


def create_blueprint(
    settings: Settings,
    publisher: Link,
    sources: Mapping[str, Source],
    clock: Callable[[], float] = time.time,
    *,
    health: bool = False,
) -> Blueprint:
    """Return the routes of ingress, for ``app.register_blueprint``.

    They bring their own error answers and limits, and change nothing of the application they are mounted in but
    an entry in its ``extensions``. The spool is emptied from the first callback on, or from
    ``app.extensions["deedbox"].start()``; ``.close()`` ends that. ``health`` adds ``/healthz`` and ``/readyz``.
    ``clock`` returns unix seconds. Raises SettingsError if OpenTelemetry is wanted and not installed.
    """
    intake = Intake(sources, clock)
    mounted = Mounted.build(settings, publisher, intake, policy_of(settings, sources), clock)
    receiver, handover = mounted.receiver, mounted.handover
    blueprint = Blueprint("deedbox", __name__)
    blueprint.record_once(lambda state: state.app.extensions.setdefault(EXTENSION, handover))
    readiness = Readiness(publisher, handover)

    def callbacks(source: str = "default") -> Response:
        given = request.environ
        reception = receiver.receive(
            source,
            request.method,
            given.get("CONTENT_TYPE"),
            given.get("HTTP_CONTENT_SHA256"),
            given.get("HTTP_TRACEPARENT"),
            given.get("HTTP_USER_AGENT"),
            partial(_body, given, vars(request)),
        )
        if reception.is_quick() or LATER not in given:
            return _response(reception.answer())
        return Awaited(reception)

    def healthz() -> Response:
        return _health(status="ok")

    def readyz() -> Response:
        health = readiness.health()
        if health.refusal is not None:
            return _error(health.refusal, health.text or "")
        return _health(status="ready", **({"warning": health.text} if health.text else {}))

    for rule in ("/callbacks", "/callbacks/<source>"):
        blueprint.add_url_rule(
            rule,
            view_func=callbacks,
            methods=METHODS,
            strict_slashes=False,
            provide_automatic_options=False,
            merge_slashes=False,
        )
    if health:
        blueprint.add_url_rule("/healthz", view_func=healthz)
        blueprint.add_url_rule("/readyz", view_func=readyz)
    return blueprint


class _Web(Flask):
    """The web process's application."""

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Match by path and method alone: its routes are the same for every ``Host``, and no address is built from one."""
        if request is None:
            return super().create_url_adapter(None)
        return MapAdapter(self.url_map, "localhost", "/", "", "http", request.path, request.method)


def create_app(settings: Settings, publisher: Link | None = None) -> Flask:
    """Return the web process's application. Opens no connection.

    Raises SettingsError if a key ring or the broker's address is missing, or OpenTelemetry is wanted and missing.
    """
    sources = settings.sources()
    broker = publisher or broker_of(settings)
    app = _Web("ingress", static_folder=None)
    app.url_map.merge_slashes = False  # a redirect costs the callback: Dropbox Sign does not follow it
    app.register_blueprint(create_blueprint(settings, broker, sources, health=True))
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _internal_error)
    return app


def _body(given: WSGIEnvironment, known: Mapping[str, object], body_max_bytes: int) -> bytes | None:
    """Read the body, chunked or not, up to the limit; None for a larger one. Raises CutShort and ReadBefore.

    The limit is this request's own: the application's setting belongs to the application. ``known``: the attributes of
    Flask's request.
    """
    if "form" in known or "_cached_data" in known:  # where werkzeug keeps what was read
        raise ReadBefore
    announced = get_content_length(given)
    if (announced or 0) > body_max_bytes:
        return None
    held = given["wsgi.input"]
    if isinstance(held, BytesIO) and held.tell() == 0:
        # Our server has read it: taken as it is, where the stream would copy some megabytes twice.
        body = held.getvalue()
        if len(body) == announced:
            return body
    try:
        # One byte more: a chunked body is cut at the limit without a word, and a cut body must not pass for a whole.
        return get_input_stream(given, max_content_length=body_max_bytes + 1).read()
    except RequestEntityTooLarge:
        return None
    except ClientDisconnected:
        raise CutShort from None


class Awaited(Response):
    """The place of an answer that waits for the broker: our server sends what the reception says in the end."""

    def __init__(self, reception: Reception) -> None:
        super().__init__()
        self._reception = reception

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Hand the reception to the server."""
        del start_response
        waits = self._reception
        environ[LATER](
            Later(waits.patience_s, waits.when_over, waits.is_quick, lambda: _reply(waits.answer()))
        )
        return ()


@lru_cache(maxsize=4)
def _reply(answer: HttpAnswer) -> WsgiReply:
    headers = [
        ("content-type", answer.content_type),
        ("content-length", str(len(answer.body))),
        *answer.headers,
    ]
    wire = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    return WsgiReply(answer.status, wire, answer.body)


def _response(answer: HttpAnswer) -> Response:
    response = Response(answer.body, answer.status, content_type=answer.content_type)
    if answer.headers:
        response.headers.extend(answer.headers)
    return response


def _health(**document: str) -> Response:
    response = jsonify(document)
    response.headers.add(*NOT_KEPT)
    return response


def _error(reason: Refusal, detail: str) -> Response:
    return _response(answer_of(RefusedCallback(reason, detail)))


def _http_error(error: HTTPException) -> Response:
    """Answer what Flask itself refuses: paths and methods that are not ours."""
    request.routing_exception = None  # or its frames and the request would keep each other until a collection
    if error.code == HTTPStatus.METHOD_NOT_ALLOWED:
        response = _error(Refusal.METHOD_NOT_ALLOWED, "this path does not take this method")
        response.headers["Allow"] = dict(error.get_headers()).get("Allow", "GET")
        return response
    if error.code == HTTPStatus.NOT_FOUND:
        return _error(Refusal.NOT_FOUND, "callbacks go to /callbacks or /callbacks/<source>")
    return _internal_error(error)


def _internal_error(error: Exception) -> Response:
    report_failure(error)
    return _error(Refusal.INTERNAL_ERROR, "the request could not be handled; see the log of Deedbox")
