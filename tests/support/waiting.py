"""Waiting for what another process or thread does, however slow the machine is within reason."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

PATIENCE_S = 60.0
STEP_S = 0.02


def until(condition: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
    """Wait for a truthy result and return it."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if result := condition():
            return result
        time.sleep(STEP_S)
    raise AssertionError(f"waited in vain until {what}")
