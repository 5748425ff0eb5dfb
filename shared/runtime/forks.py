"""What a forked child must not inherit: locks that somebody held, threads that are not there, files of its parent."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable


def call_in_children(method: Callable[[], None]) -> None:
    """Call a bound method in every child that this process forks, for as long as its object lives."""
    found = weakref.WeakMethod(method)

    def call() -> None:
        bound = found()
        if bound is not None:
            bound()

    os.register_at_fork(after_in_child=call)
