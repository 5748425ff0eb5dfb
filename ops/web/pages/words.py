"""How pages say things: durations, times, names, and sentences with commands in them."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from flask import Flask, g, session
from markupsafe import Markup, escape

from deedbox.ops.web.auth.access import ANYBODY, Caller
from deedbox.ops.web.auth.tokens import Scope
from deedbox.ops.wording import output
from deedbox.ops.wording.output import counted, duration, masked
from deedbox.shared.printable import printable

SHOWN_MAX_CHARS: Final = 20_000
"""Of one text on a page, cut before it is filtered."""

_COPIED: Final = Markup(" data-copy")
_JOINT: Final = re.compile(r"(?<=[_./])(?=.)")
_COMMAND: Final = re.compile(r"`([^`]+)`")


def install(app: Flask, now: Callable[[], float]) -> None:
    """Make the words known to an application's templates. ``now``: unix seconds."""

    def ago(at: float) -> str:
        """Say how long ago something was; or in how long it is due."""
        since_s = now() - at
        if abs(since_s) < 1:
            return "now"
        return f"in {duration(-since_s)}" if since_s < 0 else f"{duration(since_s)} ago"

    app.jinja_env.filters.update(
        duration=duration, clock=clock, iso=iso, ago=ago, prose=prose, number=number, harmless=harmless,
        breakable=breakable, request_name=request_name,
    )  # fmt: skip
    app.jinja_env.globals.update(counted=counted)
    app.context_processor(_caller)


def clock(at: float) -> str:
    """Write a time (unix seconds) in UTC."""
    return f"{output.clock(at)} UTC"


def iso(at: float) -> str:
    """Write a time (unix seconds) for programs."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def number(value: float | None) -> str:
    """Write a count with its thousands apart; a question mark for None."""
    return "?" if value is None else f"{value:,.0f}"


def harmless(text: object) -> str:
    """Show control and direction characters instead of obeying them, and mask e-mail addresses."""
    found = str(text)
    return masked(printable(found if len(found) <= SHOWN_MAX_CHARS else found[:SHOWN_MAX_CHARS] + "…"))


def request_name(ordering_key: str) -> str:
    """Name a request as people do, by its id; another ordering key as it is."""
    return harmless(ordering_key.removeprefix("signature_request/"))


def breakable(name: str) -> Markup:
    """Let a long name break behind its joints, and not within a word."""
    return Markup("<wbr>").join(escape(part) for part in _JOINT.split(harmless(name)))


def prose(text: str, *, copied: bool = True) -> Markup:
    """Set what stands between backticks as code; a command can be copied. Everything is escaped."""
    parts = _COMMAND.split(harmless(text))
    return Markup("").join(
        Markup("<code{}>{}</code>").format(_COPIED if copied and part.startswith("deedbox ") else "", part)
        if index % 2
        else escape(part)
        for index, part in enumerate(parts)
    )


def _caller() -> dict[str, object]:
    caller: Caller | None = g.get("caller")
    scopes = caller.scopes if caller is not None else frozenset[Scope]()
    named = caller is not None and caller is not ANYBODY  # a token may have the same name
    return {
        "signed_in_as": caller.name if caller and named else "",
        "by_session": "who" in session,
        "may_write": Scope.WRITE in scopes,
    }
