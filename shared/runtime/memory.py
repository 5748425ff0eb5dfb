"""The memory of a process that works for days: what start-up made stays, what a call made is soon gone."""

from __future__ import annotations

import gc
from typing import Final

GC_EVERY: Final = (20_000, 20, 100)
"""Rarer than by default: requests and events are freed by their last reference. A batch makes ten thousand objects that
live until its commit, and the collector would walk through them again and again."""


def settle() -> None:
    """Take what there is for lasting, and collect garbage rarely from now on. For the end of a start-up."""
    gc.freeze()
    gc.set_threshold(*GC_EVERY)
