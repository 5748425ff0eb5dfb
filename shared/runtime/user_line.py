"""The line of the application's own code that a call is at, or was at when it failed."""

from __future__ import annotations

import sys
import sysconfig
import threading
import traceback
from asyncio import Task
from os.path import dirname
from types import CodeType, FrameType, TracebackType
from typing import Any, Final

_OURS: Final = dirname(dirname(dirname(__file__))) + "/"  # noqa: PTH120 - as the code objects name their files, links and all
_STANDARD: Final = (sysconfig.get_path("stdlib") + "/", "<")
_INSTALLED: Final = (sysconfig.get_path("purelib") + "/", sysconfig.get_path("platlib") + "/")


def place(trace: TracebackType | None) -> str:
    """Name the application's innermost line as ``file.py:12``; without one the innermost of all; empty without a trace."""
    frames = [frame for frame in traceback.extract_tb(trace) if not frame.filename.startswith("<frozen ")]
    theirs = [frame for frame in frames if not frame.filename.startswith((_OURS, *_STANDARD))]
    theirs = [frame for frame in theirs if not frame.filename.startswith(_INSTALLED)][-1:] or theirs[:1]
    for frame in theirs or frames[-1:]:
        return f"{frame.filename.rpartition('/')[2]}:{frame.lineno}"
    return ""


def standing(call: CodeType, task: Task[Any] | None) -> TracebackType | None:
    """Return which line the main thread is at, as the traceback of an error that it would raise there.

    ``call``: the code that called the action, which is left out with everything before it. ``task``: the async call,
    which may stand at an ``await`` while the main thread waits in its event loop.
    """
    frames: list[FrameType] = []
    frame = sys._current_frames().get(threading.main_thread().ident or 0)  # noqa: SLF001 - documented, meant for this
    while frame is not None and frame.f_code is not call:
        frames.insert(0, frame)
        frame = frame.f_back
    awaiting = _awaiting(task.get_coro()) if task is not None else []
    if awaiting and awaiting[-1] not in frames:
        frames = awaiting
    trace = None
    for each in reversed(frames):
        trace = TracebackType(trace, each, each.f_lasti, each.f_lineno or 0)
    return trace


def _awaiting(coroutine: Any) -> list[FrameType]:
    """Return the frames of a coroutine and of those that it awaits, the outermost first."""
    frames = []
    while frame := getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None):
        frames.append(frame)
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
    return frames
