"""How long work reports its progress to a caller that may show it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Tell: TypeAlias = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is, about."""


def unheard(_what: str, _done: int, _total: int) -> None:
    """Ignore the progress."""
