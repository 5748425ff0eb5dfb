"""The trace id: one name for a callback from its receipt to the last action."""

from __future__ import annotations

import re
import secrets
from typing import Final

_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?", re.ASCII)


def trace_id_of(traceparent: str | None) -> str:
    """Return the trace id (32 hexadecimal characters) of a W3C ``traceparent`` header, or a new one.

    An ill-formed header is ignored, as its standard asks: a callback is not refused for its decoration.
    """
    match = _TRACEPARENT.fullmatch(traceparent.strip()) if traceparent else None
    if match is None:
        return secrets.token_hex(16)
    version, trace, parent, more = match.groups()
    ill = version == "ff" or not trace.strip("0") or not parent.strip("0") or (version == "00" and more)
    return secrets.token_hex(16) if ill else trace
