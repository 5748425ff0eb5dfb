"""What a callback leaves behind at every hop: a log line, and a span if OpenTelemetry is on.

Set once per process. A hop asks ``lines()`` and ``spans()``; while they are off that is all it costs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deedbox.shared.core.errors import SettingsError
from deedbox.shared.settings import Settings

if TYPE_CHECKING:
    from deedbox.shared.runtime.spans import Spans

_lines = True
_spans: Spans | None = None


def configure(settings: Settings, process: str) -> None:
    """Set up the hops of this process. Raises SettingsError if OpenTelemetry is wanted and not installed."""
    global _lines  # noqa: PLW0603 - like the logging that it belongs to, one per process
    _lines = settings.log_hops == "on"
    install(_exporting(process) if settings.otel == "on" else None)


def _exporting(process: str) -> Spans:
    if _spans is not None:
        return _spans
    try:
        from deedbox.shared.runtime.spans import exporting
    except ImportError:
        raise SettingsError(
            "DEEDBOX_OTEL is on, and OpenTelemetry is not installed; pip install 'deedbox[otel]', or unset it."
        ) from None
    return exporting(process)


def install(spans: Spans | None) -> None:
    """Set where spans go; None: nowhere."""
    global _spans  # noqa: PLW0603 - see configure
    _spans = spans


def lines() -> bool:
    """Return whether each callback gets a line at each hop, or only those that something happened to."""
    return _lines


def spans() -> Spans | None:
    """Return where spans go; None: OpenTelemetry is off."""
    return _spans
