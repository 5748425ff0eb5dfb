"""OpenTelemetry spans of the hops. Imported only where DEEDBOX_OTEL is on: the extra ``otel`` may be missing.

The context travels as trace id and span id: in the broker message's headers, the inbox entry and the stored event.
An empty span id means that this callback is not traced (received without tracing, or not sampled), and no later hop
traces it either. Attributes hold ids, types and outcomes; never payloads, and of errors the type only.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

INSTRUMENTATION: Final = "deedbox"

_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_W3C: Final = TraceContextTextMapPropagator()


class Span:
    """One hop of one callback."""

    __slots__ = ("_span", "_tracer")

    def __init__(self, tracer: trace.Tracer, span: trace.Span) -> None:
        self._tracer = tracer
        self._span = span

    @property
    def trace_id(self) -> str:
        """32 hexadecimal characters."""
        return trace.format_trace_id(self._span.get_span_context().trace_id)

    @property
    def span_id(self) -> str:
        """What the next hop is told: 16 hexadecimal characters, or nothing if this trace is not sampled."""
        context = self._span.get_span_context()
        return trace.format_span_id(context.span_id) if context.trace_flags.sampled else ""

    @property
    def traceparent(self) -> str:
        """The W3C header for calls made in this hop."""
        context = self._span.get_span_context()
        return f"00-{self.trace_id}-{trace.format_span_id(context.span_id)}-{context.trace_flags:02x}"

    def set(self, **facts: str | float | bool | None) -> None:
        """Add attributes, each below ``deedbox.``."""
        for name, value in facts.items():
            if value is not None:
                self._span.set_attribute(f"deedbox.{name}", value)

    def rename(self, name: str) -> None:
        """Change the name: what a hop was shows at its end."""
        self._span.update_name(name)

    def fail(self, kind: str) -> None:
        """Mark as failed. ``kind``: a type or a reason, never an error's text."""
        self._span.set_status(Status(StatusCode.ERROR, kind))

    def end(self) -> None:
        """End now."""
        self._span.end()

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make it the current span inside the block, so that other instrumentation joins it."""
        with trace.use_span(self._span, record_exception=False, set_status_on_exception=False):
            yield

    @contextmanager
    def running(self) -> Iterator[Span]:
        """Make it the current span inside the block, so that other instrumentation joins it; end it after."""
        try:
            with self.current():
                yield self
        except BaseException as error:
            self.fail(type(error).__name__)
            raise
        finally:
            self.end()

    def child(self, name: str, kind: SpanKind = SpanKind.PRODUCER) -> Span:
        """Begin a span below this one."""
        parent = trace.set_span_in_context(self._span)
        return Span(self._tracer, self._tracer.start_span(name, parent, kind))


class Spans:
    """Begins spans."""

    def __init__(self, provider: trace.TracerProvider) -> None:
        self._tracer = provider.get_tracer(INSTRUMENTATION)

    def receive(self, traceparent: str | None) -> Span:
        """Begin the first span of a callback, below the caller's if it sent a valid ``traceparent``."""
        parent = _W3C.extract({"traceparent": traceparent}) if traceparent else None
        return Span(self._tracer, self._tracer.start_span("ingress.receive", parent, SpanKind.SERVER))

    def resume(self, name: str, trace_id: str, span_id: str, started_at: float | None = None) -> Span | None:
        """Begin a span below one of another process; None if that callback is not traced.

        ``started_at``: unix seconds; now, if it is not given.
        """
        if not span_id:
            return None
        try:
            parent = SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=_SAMPLED)
        except ValueError:
            return None
        context = trace.set_span_in_context(NonRecordingSpan(parent))
        start_ns = int((started_at if started_at is not None else time.time()) * 1e9)
        return Span(
            self._tracer, self._tracer.start_span(name, context, SpanKind.CONSUMER, start_time=start_ns)
        )


def exporting(process: str) -> Spans:
    """Return spans that go where the standard variables say (``OTEL_EXPORTER_OTLP_ENDPOINT`` and so on).

    They leave in batches from a thread, which forked children start again; what waits is sent when the process ends.
    """
    # A collector that is away: one error per batch is enough, not one line per span that found no room.
    logging.getLogger("opentelemetry").setLevel(logging.ERROR)
    # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win.
    resource = Resource({SERVICE_NAME: "deedbox", "deedbox.process": process}).merge(_from_environment())
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Spans(provider)


def _from_environment() -> Resource:
    found = dict(Resource.create().attributes)
    if str(found.get(SERVICE_NAME, "")).startswith("unknown_service"):
        del found[SERVICE_NAME]
    return Resource(found)
