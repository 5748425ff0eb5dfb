"""The command that does what a page is about to do, ready to be copied."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable
from datetime import UTC, datetime

from deedbox.ops.repair.deadletters import Selection
from deedbox.shared.core.routing import PauseKind
from deedbox.shared.pauses import PauseTarget
from deedbox.shared.printable import printable


def runbook(place: str) -> str:
    """Return the command that shows a section of the runbook."""
    return f"deedbox runbook {place}"


def letters(verb: str, chosen: Selection) -> str:
    """Return ``deedbox dead redrive`` or ``discard`` for these letters."""
    options = {
        "--reason": chosen.reason, "--action": chosen.action, "--type": chosen.pattern, "--source": chosen.source,
        "--key": chosen.key, "--error": chosen.error, "--since": _time(chosen.since), "--until": _time(chosen.until),
    }  # fmt: skip
    given = list(chosen.ids) or _options(options) or ["--all"]
    return _line("dead", verb, *given)


def replay(request: str, actions: Iterable[str], source: str) -> str:
    """Return ``deedbox replay`` of one request."""
    return _line(
        "replay", _id(request), *_options([("--action", each) for each in actions]), *_source(source)
    )


def pause(target: PauseTarget, why: str = "") -> str:
    """Return the command that begins a pause."""
    return _line("pause", *_target(target), *_options({"--why": why}))


def resume(target: PauseTarget) -> str:
    """Return the command that ends a pause."""
    return _line("resume", *_target(target))


def erase(request: str, source: str, *, documents: bool) -> str:
    """Return ``deedbox erase``."""
    return _line("erase", _id(request), *_source(source), *(["--documents"] if documents else []))


def reconcile(source: str, since: str) -> str:
    """Return ``deedbox reconcile``."""
    return _line("reconcile", *_options({"--since": since}), *_source(source))


def trace(ordering_key: str, source: str) -> str:
    """Return ``deedbox trace``."""
    return _line("trace", _id(ordering_key), *_source(source))


def _line(*words: str) -> str:
    # A value of an address, copied into a terminal, must not steer it.
    return printable(shlex.join(("deedbox", *words)))


def _options(options: dict[str, str] | Iterable[tuple[str, str]]) -> list[str]:
    rows = options.items() if isinstance(options, dict) else options
    # One word, so that a value which begins with a dash is no option.
    return [
        word
        for name, value in rows
        if value
        for word in ([f"{name}={value}"] if value[0] == "-" else [name, value])
    ]


def _target(target: PauseTarget) -> list[str]:
    if target.kind is not PauseKind.REQUEST:
        return [str(target.kind), target.name]
    source, _, key = target.name.partition(":")
    return ["request", _id(key), *_source(source)]


def _id(ordering_key: str) -> str:
    return ordering_key.removeprefix("signature_request/")


def _source(source: str) -> list[str]:
    return [] if source == "default" else _options({"--source": source})


def _time(at: float) -> str:
    """Write a bound of time; it is rounded up, so that what happened in that moment is within."""
    if at in {0.0, math.inf}:
        return ""
    return (
        datetime.fromtimestamp(math.ceil(at * 1000) / 1000, UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z")
    )
