"""Composition root of ingress: the routes, and the one place that builds what they need.

``create_blueprint`` can be mounted in an application of your own; ``create_app`` is the whole web process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from flask import Blueprint, Flask, Response, jsonify, request
from werkzeug.exceptions import ClientDisconnected, HTTPException, RequestEntityTooLarge

from ingress.background import Link
from ingress.handover import Handover, NotStored, Stored
from ingress.health import Readiness
from ingress.publisher import SPREAD, Publisher
from ingress.tracing import trace_id_of
from ingress.webhook import ACK, STATUS, Accepted, LadderPolicy, Received, Refused, judge
from shared import hops, logs
from shared.connections import broker_url
from shared.core.envelope import Envelope
from shared.core.reasons import Refusal
from shared.settings import Settings, Source

if TYPE_CHECKING:
    from shared.spans import Span

RETRY_AFTER_S: Final = 30
"""Told to a sender whom we could not serve. Dropbox Sign has its own schedule (first retry after 5 min)."""

EXTENSION: Final = "deedbox"
"""Where ``app.extensions`` has the Handover of an application."""

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""All of them reach the view: a 405 of Flask's own would be answered by the host application's handlers."""

_TRACED: Final = ("source", "event_type", "outcome", "reason", "status")
"""Facts of the line that the span has too."""

_log = logs.get("ingress")


class Outcome(StrEnum):
    """What ``event.received`` reports."""

    ACCEPTED = "accepted"
    SPOOLED = "spooled"
    """Acknowledged from the spool; the broker gets it later."""
    REFUSED = "refused"


def policy_of(settings: Settings, sources: Mapping[str, Source]) -> LadderPolicy:
    """Return the ladder's policy for these settings and tenants."""
    return LadderPolicy(
        key_rings={name: source.api_keys for name, source in sources.items()},
        body_max_bytes=settings.body_max_bytes,
        body_signature=settings.body_signature,
    )


def create_blueprint(
    settings: Settings,
    publisher: Link,
    sources: Mapping[str, Source],
    clock: Callable[[], float] = time.time,
) -> Blueprint:
    """Return the routes of ingress, for ``app.register_blueprint``.

    They bring their own error answers and limits, and change nothing of the application they are mounted in but
    an entry in its ``extensions``. The spool is emptied from the first callback on, or from
    ``app.extensions["deedbox"].start()``; ``.close()`` ends that. ``clock`` returns unix seconds. Raises
    SettingsError if OpenTelemetry is wanted and not installed.
    """
    hops.configure(settings, "web")
    blueprint = Blueprint("deedbox", __name__)
    handover = Handover(settings, publisher)
    blueprint.record_once(lambda state: state.app.extensions.setdefault(EXTENSION, handover))
    receiver = _Receiver(policy_of(settings, sources), handover, clock)
    readiness = Readiness(publisher, handover)

    def callbacks(source: str = "default") -> Response:
        return receiver.answer(source)

    def healthz() -> Response:
        return jsonify(status="ok")

    def readyz() -> Response:
        health = readiness.health()
        if health.refusal is not None:
            return _error(health.refusal, health.text or "")
        return (
            jsonify(status="ready") if health.text is None else jsonify(status="ready", warning=health.text)
        )

    for rule in ("/callbacks", "/callbacks/<source>"):
        blueprint.add_url_rule(
            rule, view_func=callbacks, methods=METHODS, strict_slashes=False, provide_automatic_options=False
        )
    blueprint.add_url_rule("/healthz", view_func=healthz)
    blueprint.add_url_rule("/readyz", view_func=readyz)
    return blueprint


def create_app(settings: Settings, publisher: Link | None = None) -> Flask:
    """Return the web process's application. Opens no connection.

    Raises SettingsError if a key ring or the broker's address is missing, or OpenTelemetry is wanted and missing.
    """
    sources = settings.sources()
    # Draining the spool publishes beside the requests.
    broker = publisher or Publisher(
        broker_url(settings), settings.web_threads + SPREAD, settings.redis_wait_replicas
    )
    app = Flask("ingress", static_folder=None)
    app.register_blueprint(create_blueprint(settings, broker, sources))
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _internal_error)
    return app


@dataclass(frozen=True, slots=True)
class _Spooled:
    """An accepted callback that the broker does not have yet, and why."""

    accepted: Accepted
    cause: str | None


class _Receiver:
    """Reads a request, asks the ladder, hands over, answers, and writes one line about it."""

    def __init__(self, policy: LadderPolicy, handover: Handover, clock: Callable[[], float]) -> None:
        self._policy = policy
        self._handover = handover
        self._clock = clock

    def answer(self, source: str) -> Response:
        traceparent = request.headers.get("traceparent")
        spans = hops.spans()
        if spans is None:
            return self._answer(source, trace_id_of(traceparent), None)
        with spans.receive(traceparent).running() as span:
            return self._answer(source, span.trace_id, span)

    def _answer(self, source: str, trace_id: str, span: Span | None) -> Response:
        started = time.monotonic()
        received_at = self._clock()
        verdict: Accepted | _Spooled | Refused
        try:
            verdict = self._decide(source, received_at, trace_id, span)
        except Exception as error:  # noqa: BLE001 - not left to a handler: a host application may have its own
            _report_failure(error, trace_id)
            verdict = Refused(
                Refusal.INTERNAL_ERROR, "the callback could not be handled; see the log of Deedbox"
            )
        facts = self._report(source, verdict, trace_id, started)
        if span is not None:
            span.set(**{name: facts.get(name) for name in _TRACED})
        if isinstance(verdict, Refused):
            return _error(verdict.reason, verdict.detail)
        return Response(ACK, mimetype="text/plain")

    def _decide(
        self, source: str, received_at: float, trace_id: str, span: Span | None
    ) -> Accepted | _Spooled | Refused:
        try:
            body = self._body()
        except ClientDisconnected:
            return Refused(Refusal.BAD_MULTIPART, "the body ended before its announced length")
        verdict = judge(
            Received(
                source=source,
                method=request.method,
                content_type=request.headers.get("Content-Type"),
                content_sha256=request.headers.get("Content-Sha256"),
                body=body,
            ),
            self._policy,
        )
        if isinstance(verdict, Refused):
            return verdict
        try:
            stored = self._store(verdict.envelope(received_at, trace_id), span)
        except NotStored as error:
            return Refused(
                error.reason,
                error.detail,
                cause=error.cause,
                event_type=verdict.event_type,
                body_signature=verdict.body_signature,
            )
        return _Spooled(verdict, stored.cause) if stored.spooled else verdict

    def _store(self, envelope: Envelope, span: Span | None) -> Stored:
        if span is None:
            return self._handover.store(envelope)
        with span.child("broker.publish").running() as publish:
            stored = self._handover.store(replace(envelope, span_id=publish.span_id))
            publish.set(spooled=stored.spooled)
            return stored

    def _body(self) -> bytes | None:
        """Read the body, chunked or not, up to the limit; None for a larger one.

        The limit is this request's own: the application's setting belongs to the application.
        """
        # One byte more: a chunked body is cut at the limit without a word, and a cut body must not pass for a whole.
        request.max_content_length = self._policy.body_max_bytes + 1
        try:
            return request.get_data(cache=False)
        except RequestEntityTooLarge:
            return None

    def _report(
        self, source: str, found: Accepted | _Spooled | Refused, trace_id: str, started: float
    ) -> dict[str, Any]:
        """Write the line about a request; returns what it says."""
        verdict = found.accepted if isinstance(found, _Spooled) else found
        facts: dict[str, Any] = {
            # A name that is not ours is the sender's text: it stays out of the log.
            "source": source if source in self._policy.key_rings else None,
            "event_type": verdict.event_type,
            "body_signature": verdict.body_signature and str(verdict.body_signature),
            "trace_id": trace_id,
            "took_ms": round((time.monotonic() - started) * 1000, 2),
        }
        if isinstance(found, _Spooled):
            facts["cause"] = found.cause
        if isinstance(verdict, Accepted):
            outcome = Outcome.SPOOLED if isinstance(found, _Spooled) else Outcome.ACCEPTED
            facts |= {"outcome": str(outcome), "status": int(HTTPStatus.OK)}
            if hops.lines() or outcome is Outcome.SPOOLED:
                _log.info("event.received", **facts)
            return facts
        if verdict.cause is not None:
            facts["cause"] = verdict.cause
        facts |= {
            "reason": str(verdict.reason), "status": int(verdict.status), "outcome": str(Outcome.REFUSED)
        }  # fmt: skip
        _log.warning("event.received", **facts)
        return facts


def _report_failure(error: Exception, trace_id: str | None = None) -> None:
    """Log a bug by type and place. Not by ``exc_info``: a host application's logging might print variables."""
    _log.error(
        "request.failed",
        exception=type(error).__name__,
        frames=logs.frames(error.__traceback__),
        trace_id=trace_id,
    )


def _error(reason: Refusal, detail: str) -> Response:
    response = jsonify(error=str(reason), detail=detail)
    response.status_code = STATUS[reason]
    if reason is Refusal.METHOD_NOT_ALLOWED:
        response.headers["Allow"] = "POST"
    if response.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


def _http_error(error: HTTPException) -> Response:
    """Answer what Flask itself refuses: paths and methods that are not ours."""
    if error.code == HTTPStatus.METHOD_NOT_ALLOWED:
        response = _error(Refusal.METHOD_NOT_ALLOWED, "this path does not take this method")
        response.headers["Allow"] = dict(error.get_headers()).get("Allow", "GET")
        return response
    if error.code == HTTPStatus.NOT_FOUND:
        return _error(Refusal.NOT_FOUND, "callbacks go to /callbacks or /callbacks/<source>")
    return _internal_error(error)


def _internal_error(error: Exception) -> Response:
    _report_failure(error)
    return _error(Refusal.INTERNAL_ERROR, "the request could not be handled; see the log of Deedbox")
