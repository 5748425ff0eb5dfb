"""Imports the user's modules and collects their actions. What can never work is refused here, at start, in one sentence."""

from __future__ import annotations

import importlib
import inspect
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, ModuleType
from typing import Any, Final

from deedbox.shared.core.attempts import AttemptPolicy, CallRate
from deedbox.shared.core.errors import SettingsError
from deedbox.shared.core.routing import INTERNAL_PREFIX, KNOWN_TYPES, look_alike
from deedbox.shared.redis.keys import RESERVED_LANES
from deedbox.shared.runtime.user_line import place
from deedbox.workers.actions.interface import DECLARED, ActionFunction, Declared, action
from deedbox.workers.actions.registry import RegisteredAction

IMPORT_MAX_S: Final = 30.0
"""An import that takes longer waits for something that does not come: an address that does not answer, a lock."""

_FAMILIES: Final = ("signature_request_", "template_", "fax_", "account_", INTERNAL_PREFIX)


class _ImportHangs(BaseException):
    """The import takes too long. No ``Exception``, so that ``except Exception`` does not catch it."""


def load_module(name: str) -> list[RegisteredAction]:
    """Import a user's module and collect its actions. Raises SettingsError that names DEEDBOX_ACTIONS."""
    if "" not in sys.path:
        sys.path.insert(0, "")  # an application's modules are found from the directory that it runs in
    try:
        with _time_limit():
            module = importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - whatever a user's module raises at import is one sentence here
        raise SettingsError(
            f"DEEDBOX_ACTIONS names {name}, which {_trouble(error)}; fix the module or the setting."
        ) from None
    found = collect(module)
    if not found:
        raise SettingsError(
            f"DEEDBOX_ACTIONS names {name}, which holds no @action function; correct the setting."
        )
    return found


@contextmanager
def _time_limit() -> Iterator[None]:
    """Raise _ImportHangs in the block after ``IMPORT_MAX_S``, and again each second: a bare ``except`` may catch one."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def expire(_signal: int, _frame: FrameType | None) -> None:
        raise _ImportHangs

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, IMPORT_MAX_S, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _trouble(error: BaseException) -> str:
    line = place(error.__traceback__)
    if isinstance(error, SyntaxError) and error.filename:
        line = f"{error.filename.rpartition('/')[2]}:{error.lineno}"
    at = f" at {line}" if line else ""
    if isinstance(error, _ImportHangs):
        return f"was still importing after {IMPORT_MAX_S:g} s{at}"
    if isinstance(error, SystemExit):
        return f"ends the process while it is imported (SystemExit: {_line(error)}){at}"
    return f"does not import ({type(error).__name__}: {_line(error)}){at}"


def _line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0][:200] if lines else "no message"


def collect(module: ModuleType) -> list[RegisteredAction]:
    """List the actions that a module declares, in order of definition. Raises SettingsError."""
    values = [value for value in vars(module).values() if callable(value) and _hashable(value)]
    declared = [(value, each) for value in dict.fromkeys(values) for each in _declarations(value)]
    _demand_outside_classes(module, {getattr(value, "__func__", value) for value, _ in declared})
    return [_registered(value, each) for value, each in declared]


def registered_from(function: ActionFunction) -> list[RegisteredAction]:
    """Return what one function declares; an undecorated one is an action for every event. Raises SettingsError."""
    declared = _declarations(function) or _declarations(action("*")(lambda _event, _context: None))
    return [_registered(function, each) for each in declared]


def _declarations(value: object) -> list[Declared]:
    return [each for each in getattr(value, DECLARED, ()) if isinstance(each, Declared)]


def _hashable(value: object) -> bool:
    return value.__hash__ is not None


def _demand_outside_classes(module: ModuleType, found: set[Any]) -> None:
    """Refuse declarations inside a class: they are found at no module's top level, and would never be called."""
    for value in vars(module).values():
        if not inspect.isclass(value) or value.__module__ != module.__name__:
            continue
        for member in vars(value).values():
            function = getattr(member, "__func__", member)
            if _declarations(function) and function not in found:
                raise SettingsError(
                    f"The action {function.__qualname__} ({_home(function)}) is declared inside a class, where nothing "
                    "calls it; declare a function of the module."
                )


def _registered(function: ActionFunction, declared: Declared) -> RegisteredAction:
    qualified = f"{function.__module__}.{getattr(function, '__qualname__', type(function).__name__)}"
    name = declared.name or qualified
    if declared.lane in RESERVED_LANES:
        raise SettingsError(
            f"The action {name} names the lane {declared.lane}, which is reserved; choose another lane."
        )
    _demand_callable(name, function)
    try:
        rate = None if declared.rate is None else CallRate.parse(declared.rate)
    except ValueError as error:
        raise SettingsError(f"The action {name} has an unusable rate: {error}.") from None
    return RegisteredAction(
        name=name,
        patterns=declared.patterns,
        function=function,
        lane=declared.lane,
        timeout_s=declared.timeout_s,
        ordered=declared.ordered,
        policy=AttemptPolicy(attempts=declared.attempts, give_up_s=declared.give_up_s),
        rate=rate,
        concurrency=declared.concurrency,
        where=declared.where,
    )


def _demand_callable(name: str, function: ActionFunction) -> None:
    """Refuse what a call would not run, or would refuse itself."""
    where = f"The action {name} ({_home(function)})"
    called = function if inspect.isroutine(function) else type(function).__call__
    if inspect.isclass(function):
        raise SettingsError(f"{where} is a class: a call would only make an object; declare a function.")
    if inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called):
        raise SettingsError(f"{where} has a yield: a call would not run its body; write it without.")
    try:
        inspect.signature(function).bind(None, None)
    except TypeError as error:
        raise SettingsError(
            f"{where} cannot be called with (event, context): {error}; correct its parameters."
        ) from None
    except ValueError:  # nothing is known about its parameters
        return


def _home(function: Any) -> str:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{code.co_filename.rpartition('/')[2]}:{code.co_firstlineno}" if code else function.__module__


def misspellings(action: RegisteredAction) -> list[str]:
    """Say which of an action's types look like misspelled ones. Unknown types are allowed: the vendor adds some."""
    said = []
    for pattern in action.patterns:
        stem = pattern.removesuffix("*")
        star = pattern[len(stem) :]
        known = _FAMILIES if star else KNOWN_TYPES
        if stem in known or (star and any(each.startswith(stem) for each in KNOWN_TYPES)):
            continue
        if alike := look_alike(stem, known):
            who = (
                "Deedbox does not emit"
                if stem.startswith(INTERNAL_PREFIX)
                else "Dropbox Sign does not publish"
            )
            said.append(f"The action {action.name} names {pattern}, which {who}; did you mean {alike}{star}?")
    return said
