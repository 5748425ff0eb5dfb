"""The sweeper's looks, each in its own guard: one that fails stops neither the others nor the process."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from redis.exceptions import ResponseError

from deedbox.shared.core.errors import Unavailable
from deedbox.shared.runtime import logs

WAIT_FIRST_S: Final = 1.0
WAIT_MAX_S: Final = 10.0
"""A look that fails because of a stored value fails until a person repairs it. Holds and retries must not wait for longer
than this once it is well again."""

log = logs.get("sweeper")


@dataclass(slots=True)
class _Trouble:
    wait_s: float
    again_at: float
    """By the monotonic clock."""


def _is_refusal(error: Unavailable) -> bool:
    """Return whether Redis works and refused this very command, as for a value that a script cannot read."""
    return type(error.__cause__) is ResponseError


class Looks:
    """Takes looks, and leaves out for a while those that failed."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._troubles: dict[str, _Trouble] = {}

    def take(self, name: str, look: Callable[[], object]) -> None:
        """Take one look. Raises Unavailable if Redis does not answer: then no other look would succeed either."""
        trouble = self._troubles.get(name)
        if trouble is not None and self._monotonic() < trouble.again_at:
            return
        try:
            look()
        except Unavailable as error:
            if not _is_refusal(error):
                raise
            self._failed(name, error)
        except Exception as error:  # noqa: BLE001 - whatever one look meets, the others are taken
            self._failed(name, error)
        else:
            self._troubles.pop(name, None)

    def _failed(self, name: str, error: Exception) -> None:
        before = self._troubles.get(name)
        wait_s = WAIT_FIRST_S if before is None else min(WAIT_MAX_S, before.wait_s * 2)
        self._troubles[name] = _Trouble(wait_s, self._monotonic() + wait_s)
        # Its type and place only: a message may quote a stored value.
        log.error("sweeper.look_failed", look=name, error=type(error).__name__, next_in_s=wait_s)
