"""The read model of a signature request in Redis: read, changed and written without losing another's change.

Two actions write it: ``track_status`` from events, ``reconcile`` from what the API shows. Each may run while the
other does, so that the write succeeds only if no process wrote since the read. Nothing is written about an erased request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from deedbox.shared.records import read_model as records
from deedbox.shared.redis import keys
from deedbox.shared.redis.scripting import SERVER_CLOCK, Scripts
from deedbox.shared.retention import Retention

Change = Callable[[Mapping[str, Any]], Mapping[str, Any]]

_CHANGED: Final = 2
"""What ``remember.lua`` says if another write came between."""


def change(scripts: Scripts, stream: str, how: Change, retention: Retention) -> None:
    """Change a stream's read model. ``how`` may be called again. Raises RedisError, Unavailable."""
    reply = _CHANGED
    while reply == _CHANGED:
        before: Any = scripts.redis.get(keys.request(stream)) or b""
        # One that cannot be read is replaced by a new one, made from events and the answers of the API.
        model = how((records.load(before) or {}) if before else {})
        life_s, keep = retention.state_s, keys.REQUESTS_KEEP
        reply = scripts.call(
            "remember", SERVER_CLOCK, stream, "request", records.dump(model), life_s, before, keep
        )
