"""Processes whose parent has ended, below the supervision: they become its children, instead of those of init.

So a fork of a fork can be a child of the supervision. It must then also take the exit status of what others left behind,
as init does: of the workers of a killed gunicorn, of what an action started.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Collection
from typing import Final

_PR_SET_CHILD_SUBREAPER: Final = 36


def adopt() -> bool:
    """Adopt them from now on. Returns False where a system does not know that: only Linux does."""
    if sys.platform != "linux":
        return False
    return bool(ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


def reap(known: Collection[int]) -> None:
    """Take the exit status of the adopted ones that have ended. ``known``: the children that someone here waits for.

    So are all others in our own process group: an adopted one is in that of the program that it comes from.
    """
    while (pid := _ended_child()) and pid not in known and os.getpgid(pid) != os.getpgrp():
        os.waitpid(pid, 0)


def _ended_child() -> int:
    """Return a child that has ended and whose status nobody took yet; 0 if there is none."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return 0
    return found.si_pid if found else 0
