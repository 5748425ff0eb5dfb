"""What a crash repeats: an action is killed after each of its effects, and called again, as a worker's successor would.

An effect is a call that the action's own module makes to anything else: a method of a client, of a cursor, of a list. Calls
that change nothing are left out (methods of texts and numbers, most of the standard library's computing modules, Deedbox's
own). The kill is an exception that no ``except Exception`` catches; unlike after a real kill, ``finally`` and ``with``
blocks still end, which for a database transaction is the same: it is rolled back.
"""

from __future__ import annotations

import dis
import inspect
import re
import sys
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import wraps
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any, Final

from deedbox.shared.core.attempts import QueueEntry
from deedbox.testing.callbacks import Callback, seen
from deedbox.testing.running import Ran, call, chosen
from deedbox.workers.actions.interface import ActionFunction, Context, Event
from deedbox.workers.actions.registry import RegisteredAction

CRASHES_MAX: Final = 200
"""An action with more effects is killed after the first ones only."""

_PURE_MODULES: Final = frozenset(
    {"abc", "ast", "asyncio", "base64", "builtins", "collections", "contextlib", "contextvars", "copy", "dataclasses",
     "datetime", "decimal", "email", "enum", "fractions", "functools", "hashlib", "hmac", "html", "inspect", "itertools",
     "json", "logging", "math", "operator", "pydantic", "pydantic_core", "random", "re", "secrets", "statistics", "string",
     "structlog", "textwrap", "time", "types", "typing", "typing_extensions", "unicodedata", "uuid", "warnings", "zoneinfo"}
)  # fmt: skip
_EFFECTFUL: Final = frozenset(
    {"__call__", "__exit__", "__aexit__", "__setitem__", "__delitem__", "__setattr__"}
)
"""Of the methods with two underscores, these are calls that may change something."""

_CHANGES: Final = frozenset(
    {"add", "append", "appendleft", "clear", "discard", "extend", "extendleft", "insert", "pop", "popitem", "popleft",
     "remove", "setdefault", "update"}
)  # fmt: skip
_COLLECTIONS: Final = (list, dict, set, deque, bytearray)
_VALUES: Final = (str, bytes, int, float, complex, tuple, frozenset, type(None), type, re.Pattern, re.Match)
_BUILTINS: Final = frozenset({"open", "exec", "eval"})
_LEAVES: Final = frozenset(dis.opmap[name] for name in ("RETURN_VALUE", "RETURN_CONST") if name in dis.opmap)
_ONCE: Final = "deedbox.workers.actions.once"


@dataclass(frozen=True)
class Crash:
    """One kill, and the call that followed."""

    number: int
    """From 1, in the order of the effects."""
    after: str
    """The effect after which the action was killed, with its line: ``Crm.note (callbacks.py:12)``."""
    happened: tuple[str, ...]
    """All effects up to the kill."""
    repeated: tuple[str, ...]
    """Those of them that happened again in the second call."""
    second: Ran
    """The second call."""

    def __str__(self) -> str:
        again = ", ".join(self.repeated) or "nothing"
        return f"killed after {self.after}: {again} happened again; the second call: {self.second.outcome}"


class Killed(BaseException):
    """Stands for SIGKILL."""


def crash_points(action: ActionFunction, callback: Callback) -> list[Crash]:
    """Kill an action after each of its effects, call it again, and return what repeated.

    Each kill is of a call with an idempotency key of its own, so that what an earlier one left behind under its key does not
    count. Nothing else is reset in between. Raises NotVerified if Deedbox would refuse the callback. For the main thread only.
    """
    chosen_action = chosen(action, callback.event_type)
    effects = _Life(chosen_action, callback, 0).live()[0]
    crashes = []
    for number in range(1, min(len(effects), CRASHES_MAX) + 1):
        life = _Life(chosen_action, callback, number)
        happened, killed = life.live(number)
        if not killed:  # it has fewer effects this time
            break
        again, second = life.live()[0], life.ran
        repeated = Counter(happened) & Counter(again)
        crashes.append(Crash(number, happened[-1], tuple(happened), tuple(repeated.elements()), second))
    return crashes


class _Life:
    """One fact, and the calls with it."""

    def __init__(self, action: RegisteredAction, callback: Callback, number: int) -> None:
        self._action = action
        stored = callback.identified(f"crash-{number}").stored
        self._event = seen(stored)
        self._entry = QueueEntry(stored.fingerprint, stored.received_at)
        self.ran = Ran("done")

    def live(self, kill_after: int = 0) -> tuple[list[str], bool]:
        """Call the action; 0: to its end. Returns the effects, and whether it was killed."""
        watch = _Watch(_home(self._action.function), kill_after)
        watched = replace(self._action, function=watch.around(self._action.function))
        self.ran = call(watched, self._event, self._entry, self._event.received_at)[0]
        return watch.effects, watch.killed


def _home(function: ActionFunction) -> str:
    inner = inspect.unwrap(function)
    code = getattr(inner, "__code__", None) or getattr(type(inner).__call__, "__code__", None)
    if not isinstance(code, CodeType):
        raise TypeError("crash_points takes an action that is written in Python")
    return code.co_filename


@dataclass
class _Watch:
    """Sees the calls that leave a file."""

    home: str
    kill_after: int
    effects: list[str] = field(default_factory=list)
    killed: bool = False
    _open: dict[FrameType, str] = field(default_factory=dict)
    """Calls that were begun, by their frame."""
    _open_c: dict[FrameType, str] = field(default_factory=dict)
    """The same for functions in C, by the frame that called them."""

    def around(self, function: ActionFunction) -> Callable[[Event, Context], object]:
        """Return the function as one that is watched while it runs."""
        if inspect.iscoroutinefunction(function):

            @wraps(function)
            async def watched(event: Event, context: Context) -> object:
                before = sys.getprofile()
                sys.setprofile(self._saw)
                try:
                    return await function(event, context)
                finally:
                    sys.setprofile(before)

            return watched

        def plain(event: Event, context: Context) -> object:
            before = sys.getprofile()
            sys.setprofile(self._saw)
            try:
                return function(event, context)
            finally:
                sys.setprofile(before)

        return plain

    def _saw(self, frame: FrameType, what: str, about: Any) -> None:
        if what == "call":
            caller = frame.f_back
            outward = caller is not None and caller.f_code.co_filename == self.home and _matters(frame)
            if caller is not None and outward and frame not in self._open:
                self._open[frame] = _named(frame.f_code.co_qualname, caller)
        elif what == "c_call" and frame.f_code.co_filename == self.home and _c_matters(about):
            self._open_c[frame] = _named(getattr(about, "__qualname__", repr(about)), frame)
        elif what == "c_return" and frame in self._open_c:
            self._happened(self._open_c.pop(frame))
        elif what == "c_exception":
            self._open_c.pop(frame, None)
        elif what == "return" and frame in self._open and _leaves(frame):
            self._happened(self._open.pop(frame))

    def _happened(self, effect: str) -> None:
        self.effects.append(effect)
        if len(self.effects) == self.kill_after:
            self.killed = True
            raise Killed


def _named(name: str, caller: FrameType) -> str:
    return f"{name} ({Path(caller.f_code.co_filename).name}:{caller.f_lineno})"


def _leaves(frame: FrameType) -> bool:
    """Return whether a frame that is left has come to its end: not if a coroutine waits, or an error ended it."""
    return frame.f_code.co_code[frame.f_lasti] in _LEAVES


def _matters(frame: FrameType) -> bool:
    module, name = str(frame.f_globals.get("__name__", "")), frame.f_code.co_name
    if name.startswith("__") and name not in _EFFECTFUL:
        return False
    root = module.partition(".")[0]
    return module == _ONCE if root == "deedbox" else root not in _PURE_MODULES


def _c_matters(function: Any) -> bool:
    owner, name = getattr(function, "__self__", None), getattr(function, "__name__", "")
    if owner is None or isinstance(owner, ModuleType):
        root = str(getattr(function, "__module__", "") or "").partition(".")[0]
        return name in _BUILTINS if root == "builtins" else root.lstrip("_") not in _PURE_MODULES
    if isinstance(owner, _COLLECTIONS):
        return name in _CHANGES
    if isinstance(owner, _VALUES) or (name.startswith("__") and name not in _EFFECTFUL):
        return False
    return type(owner).__module__.partition(".")[0].lstrip("_") not in _PURE_MODULES
