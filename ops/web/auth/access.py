"""Who may ask what of ops: one pure decision per request.

The process answers a known ``Host`` only, because a page in somebody's browser could otherwise reach a server on
loopback under a name of its own (DNS rebinding). Reading from this machine needs nothing else. A forwarding header
means that a proxy stands in between, and then nobody knows that the question came from this machine.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import ip_address
from typing import Final

from deedbox.ops.web.auth.tokens import ALL_SCOPES, Scope, Token

LOCAL_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})

_FORWARDING: Final = frozenset({
    "forwarded", "via", "x-real-ip", "x-client-ip", "x-cluster-client-ip", "true-client-ip", "cf-connecting-ip",
    "fastly-client-ip", "x-original-host", "x-original-url",
})  # fmt: skip


class Refused(StrEnum):
    """Why ops did not answer; the ``error`` of its JSON answers."""

    BAD_HOST = "bad_host"
    UNAUTHORIZED = "unauthorized"
    WRONG_TOKEN = "wrong_token"  # noqa: S105 - a reason
    TOO_MANY_TRIES = "too_many_tries"
    FORBIDDEN = "forbidden"
    CROSS_SITE = "cross_site"
    BAD_REQUEST = "bad_request"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    GONE = "gone"
    RANGE_NOT_SATISFIABLE = "range_not_satisfiable"
    UNAVAILABLE = "unavailable"
    INTERNAL_ERROR = "internal_error"


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """What is fixed at the start of the process."""

    hosts: frozenset[str] = LOCAL_HOSTS
    """Names that ops answers to, in lower case, without ports."""
    loopback: bool = True
    """The process listens on loopback only."""


@dataclass(frozen=True, slots=True)
class Question:
    """A request, as far as access depends on it."""

    host: str
    peer: str
    """Address of the other end of the connection."""
    headers: frozenset[str]
    """Names, in lower case."""
    bearer: str | None = field(repr=False)
    bearer_token: Token | None
    """The token that ``bearer`` is, if it is one."""
    session_token: Token | None
    """The token that the session was opened with, if it still exists and has not expired."""
    scope: Scope


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks."""

    name: str
    scopes: frozenset[Scope]
    by_bearer: bool = False
    """A bearer token is sent on purpose; a browser sends its session by itself, so its writes need a CSRF token."""


@dataclass(frozen=True, slots=True)
class Denied:
    """Why not."""

    reason: Refused
    detail: str


NOBODY: Final = Caller("local", ALL_SCOPES - {Scope.WRITE})
"""A person or program on this machine, without a token."""


def decide(question: Question, policy: AccessPolicy) -> Caller | Denied:
    """Return who asks, or why there is no answer."""
    if host_name(question.host) not in policy.hosts:
        detail = "ops does not answer to this Host; ask for localhost, or add the name to DEEDBOX_OPS_HOSTS"
        return Denied(Refused.BAD_HOST, detail)
    caller = _caller(question, policy)
    if isinstance(caller, Denied) or question.scope in caller.scopes:
        return caller
    if caller is NOBODY:
        return Denied(Refused.UNAUTHORIZED, "changing something needs a token with the scope write")
    return Denied(Refused.FORBIDDEN, f"the token {caller.name} has no scope {question.scope}")


def _caller(question: Question, policy: AccessPolicy) -> Caller | Denied:
    if question.bearer is not None:
        if question.bearer_token is None:
            return Denied(Refused.WRONG_TOKEN, "this is no token of DEEDBOX_OPS_TOKENS")
        return Caller(question.bearer_token.name, question.bearer_token.scopes, by_bearer=True)
    if question.session_token is not None:
        return Caller(question.session_token.name, question.session_token.scopes)
    if policy.loopback and is_loopback(question.peer) and not is_forwarded(question.headers):
        return NOBODY
    return Denied(
        Refused.UNAUTHORIZED, "this needs a token: Authorization: Bearer <token>, or sign in at /login"
    )


def host_name(host: str) -> str:
    """Return a Host header without its port, in lower case."""
    name, separator, port = host.strip().lower().rpartition(":")
    # An IPv6 address has its colons in brackets.
    return name if separator and port.isdigit() and not name.endswith(":") else host.strip().lower()


def is_loopback(address: str) -> bool:
    """Tell whether an address is of this machine only; ``localhost`` is."""
    if address == "localhost":
        return True
    try:
        found = ip_address(address.strip("[]"))
    except ValueError:
        return False
    return found.is_loopback or bool(getattr(found, "ipv4_mapped", None) and found.ipv4_mapped.is_loopback)  # type: ignore[union-attr]


def is_forwarded(headers: Iterable[str]) -> bool:
    """Tell whether a header shows that a proxy passed the request on."""
    return any(name in _FORWARDING or name.startswith("x-forwarded") for name in headers)
