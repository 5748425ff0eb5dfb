"""Everything about a callback but the framework: when it came, what the ladder says, where it is stored, the answer."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from deedbox.ingress.monitor.counters import Intake
from deedbox.ingress.publish.handover import Handover, NotStored, Storing
from deedbox.ingress.receive.ladder import (
    ACK,
    STATUS,
    VERIFIED,
    Accepted,
    LadderPolicy,
    Received,
    RefusedCallback,
    judge,
)
from deedbox.ingress.receive.tracing import trace_id_of
from deedbox.shared.core.reasons import Refusal
from deedbox.shared.runtime import logs, telemetry

if TYPE_CHECKING:
    from deedbox.shared.runtime.spans import Span

RETRY_AFTER_S: Final = 30
"""Told to a sender whom we could not serve. Dropbox Sign has its own schedule (first retry after 5 min)."""

LARGE_BYTES: Final = 1024 * 1024
"""Bodies above this are judged one at a time: parsed, each may be ten times its length, and genuine ones are some
hundred kilobytes at most."""

CUT_SHORT: Final = "the body did not arrive whole"

READ_BEFORE: Final = (
    "the application that serves Deedbox's blueprint has read the body before Deedbox could, in a before_request "
    "function or in middleware; exempt the blueprint from it (request.blueprint == 'deedbox')"
)

Read = Callable[[int], bytes | None]
"""Reads a body of up to so many bytes; None for a larger one. Raises CutShort and ReadBefore."""


class CutShort(Exception):
    """The sender went away before its body was whole, or took too long."""


class ReadBefore(Exception):
    """The application that Deedbox is mounted in has read the body."""


_TRACED: Final = ("source", "event_type", "outcome", "reason", "status")
"""Facts of the line that the span has too."""

_log = logs.get("ingress")
_hops = logs.HopLog("ingress", "event.received")


class Receipt(StrEnum):
    """What ``event.received`` reports."""

    ACCEPTED = "accepted"
    SPOOLED = "spooled"
    """Acknowledged from the spool; the broker gets it later."""
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Visit:
    """One request, from its first look to its answer."""

    source: str
    """As the URL names it; it need not exist."""
    received_at: float
    """Unix seconds."""
    started: float
    """By the monotonic clock, in seconds."""
    trace_id: str
    span: Span | None = None
    """OpenTelemetry's view of this request; None: off."""
    vendors: bool = False
    """Its ``User-Agent`` is Dropbox Sign's: anybody can write that, but what has another one is not from there."""


@dataclass(frozen=True, slots=True)
class Spooled:
    """An accepted callback that the broker does not have yet, and why."""

    accepted: Accepted
    cause: str | None


def is_the_vendors(user_agent: str | None) -> bool:
    """Return whether a ``User-Agent`` is one of those with which Dropbox Sign has been seen."""
    name = (user_agent or "").lower()
    return "dropbox sign" in name or "hellosign" in name


Verdict = Accepted | Spooled | RefusedCallback


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What goes back."""

    status: int
    body: bytes
    content_type: str
    headers: tuple[tuple[str, str], ...] = ()


NOT_KEPT: Final = ("Cache-Control", "no-store")
"""No cache between Dropbox Sign and Deedbox may answer in its place."""

_ACKNOWLEDGED: Final = HttpAnswer(int(HTTPStatus.OK), ACK, "text/plain; charset=utf-8", (NOT_KEPT,))


class Receiver:
    """Judges, stores, answers, counts, and writes one line about each request. Safe for threads."""

    def __init__(
        self, policy: LadderPolicy, handover: Handover, intake: Intake, clock: Callable[[], float] = time.time
    ) -> None:
        self.policy = policy
        self._handover = handover
        self._intake = intake
        self._clock = clock
        self._large = threading.Lock()

    def receive(
        self,
        source: str,
        method: str,
        content_type: str | None,
        content_sha256: str | None,
        traceparent: str | None,
        user_agent: str | None,
        read: Read,
    ) -> Reception:
        """Read and judge one request, and begin to store it; does not wait for broker or disk.

        Errors are caught, except those of logging: a host application has its own handlers.
        """
        spans = telemetry.spans()
        span = None if spans is None else spans.receive(traceparent)
        trace_id = trace_id_of(traceparent) if span is None else span.trace_id
        visit = Visit(source, self._clock(), time.monotonic(), trace_id, span, is_the_vendors(user_agent))
        if span is None:
            return self._begun(visit, method, content_type, content_sha256, read)
        with span.current():
            return self._begun(visit, method, content_type, content_sha256, read)

    def _begun(
        self, visit: Visit, method: str, content_type: str | None, content_sha256: str | None, read: Read
    ) -> Reception:
        try:
            try:
                body = read(self.policy.body_max_bytes)
            except CutShort:
                return Reception(self, visit, RefusedCallback(Refusal.BAD_MULTIPART, CUT_SHORT))
            except ReadBefore:
                refused = RefusedCallback(
                    Refusal.INTERNAL_ERROR, READ_BEFORE, cause="the body was read before"
                )
                return Reception(self, visit, refused)
            verdict = self.judge(
                Received(visit.source, method, content_type, content_sha256, body, visit.received_at)
            )
            if isinstance(verdict, RefusedCallback):
                return Reception(self, visit, verdict)
            envelope = verdict.envelope(visit.received_at, visit.trace_id)
            publishing = None if visit.span is None else visit.span.child("broker.publish")
            if publishing is not None:
                envelope = replace(envelope, span_id=publishing.span_id)
            return Reception(self, visit, verdict, self._handover.begin(envelope), publishing)
        except Exception as error:  # noqa: BLE001 - see receive
            return Reception(self, visit, self.failed(visit, error))

    def judge(self, received: Received) -> Accepted | RefusedCallback:
        """Ask the ladder."""
        if len(received.body or b"") <= LARGE_BYTES:
            return judge(received, self.policy)
        with self._large:
            return judge(received, self.policy)

    def failed(self, visit: Visit, error: Exception) -> RefusedCallback:
        """Log a bug, and return what its sender is told."""
        report_failure(error, visit.trace_id)
        return RefusedCallback(
            Refusal.INTERNAL_ERROR, "the callback could not be handled; see the log of Deedbox"
        )

    def finish(self, visit: Visit, found: Verdict) -> HttpAnswer:
        """Log and count, and return the answer."""
        took_s = time.monotonic() - visit.started
        facts = self._report(visit, found, took_s)
        if visit.span is not None:
            visit.span.set(**{name: facts.get(name) for name in _TRACED})
        if isinstance(found, RefusedCallback):
            vouched = visit.vendors or found.reason in VERIFIED
            self._intake.refused(visit.source, found.reason, visit.received_at, vouched=vouched)
            self._handover.start()  # that nothing is accepted is worth a report
            return answer_of(found)
        spooled = isinstance(found, Spooled)
        accepted = found.accepted if isinstance(found, Spooled) else found
        self._intake.acknowledged(
            visit.source, accepted.event_type, visit.received_at, took_s, spooled=spooled
        )
        return _ACKNOWLEDGED

    def _report(self, visit: Visit, found: Verdict, took_s: float) -> dict[str, Any]:
        """Write the line about a request; returns what it says."""
        verdict = found.accepted if isinstance(found, Spooled) else found
        facts: dict[str, Any] = {
            # A name that is not ours is the sender's text: it stays out of the log.
            "source": visit.source if visit.source in self.policy.key_rings else None,
            "event_type": verdict.event_type,
            "body_signature": verdict.body_signature and str(verdict.body_signature),
            "trace_id": visit.trace_id,
            "took_ms": round(took_s * 1000, 2),
        }
        if isinstance(found, Spooled):
            facts["cause"] = found.cause
        if isinstance(verdict, Accepted):
            outcome = Receipt.SPOOLED if isinstance(found, Spooled) else Receipt.ACCEPTED
            facts |= {"outcome": str(outcome), "status": int(HTTPStatus.OK)}
            if telemetry.lines() or outcome is Receipt.SPOOLED:
                _hops.write((facts,))
            return facts
        if verdict.cause is not None:
            facts["cause"] = verdict.cause
        facts |= {
            "reason": str(verdict.reason),
            "status": int(verdict.status),
            "outcome": str(Receipt.REFUSED),
        }
        _log.warning("event.received", **facts)
        return facts


class Reception:
    """A request that is judged, and perhaps on its way to the broker; ``answer`` ends it, and has to be called once."""

    def __init__(
        self,
        receiver: Receiver,
        visit: Visit,
        verdict: Accepted | RefusedCallback,
        storing: Storing | None = None,
        publishing: Span | None = None,
    ) -> None:
        self._receiver = receiver
        self._visit = visit
        self._verdict = verdict
        self._storing = storing
        self._publishing = publishing
        self.patience_s = 0.0 if storing is None else storing.patience_s
        """So long a caller that holds no thread waits before it lends one to ``answer``."""

    def is_quick(self) -> bool:
        """Whether ``answer`` waits for nothing."""
        return self._storing is None or self._storing.is_published

    def when_over(self, call: Callable[[], None]) -> None:
        """Call something, maybe twice and in any thread, once the broker has answered."""
        if self._storing is None:
            call()
        else:
            self._storing.when_over(call)

    def answer(self) -> HttpAnswer:
        """Wait until the callback is durable, up to 2 s, then log, count and return the answer."""
        span = self._visit.span
        try:
            return self._receiver.finish(self._visit, self._stored())
        finally:
            if span is not None:
                span.end()

    def _stored(self) -> Verdict:
        verdict, storing = self._verdict, self._storing
        if storing is None or isinstance(verdict, RefusedCallback):
            return verdict
        failed: str | None = None
        try:
            where = storing.wait()
        except NotStored as error:
            failed = type(error).__name__
            return RefusedCallback(
                error.reason,
                error.detail,
                cause=error.cause,
                event_type=verdict.event_type,
                body_signature=verdict.body_signature,
            )
        except Exception as error:  # noqa: BLE001 - see Receiver.receive
            failed = type(error).__name__
            return self._receiver.failed(self._visit, error)
        finally:
            if self._publishing is not None:
                if failed is not None:
                    self._publishing.fail(failed)
                self._publishing.end()
        return Spooled(verdict, where.cause) if where.spooled else verdict


def answer_of(refused: RefusedCallback) -> HttpAnswer:
    """Return the answer to a request that was refused."""
    status = STATUS[refused.reason]
    headers = [NOT_KEPT]
    if refused.reason is Refusal.METHOD_NOT_ALLOWED:
        headers.append(("Allow", "POST"))
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers.append(("Retry-After", str(RETRY_AFTER_S)))
    body = json.dumps({"error": str(refused.reason), "detail": refused.detail}).encode() + b"\n"
    return HttpAnswer(int(status), body, "application/json", tuple(headers))


def report_failure(error: Exception, trace_id: str | None = None) -> None:
    """Log a bug by type and place. Not by ``exc_info``: a host application's logging might print variables."""
    _log.error(
        "request.failed",
        exception=type(error).__name__,
        frames=logs.frames(error.__traceback__),
        trace_id=trace_id,
    )
