"""Who may ask what of ops: one pure decision per request.

A caller is known by a token, by a session, or by a name that a trusted proxy adds. Nothing else counts: a connection
from this machine proves nothing, because a proxy on this machine makes the same one, with or without a header.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

from deedbox.ops.web.auth.tokens import ALL_SCOPES, Scope, Token
from deedbox.shared.runtime.ports import is_loopback

LOCAL_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
USER_MAX_CHARS: Final = 128

Network = IPv4Network | IPv6Network


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
    proxies: tuple[Network, ...] = ()
    """Where proxies are that may say for whom they ask."""
    user_header: str = ""
    """The header in which they name a user; empty: none does."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks."""

    name: str
    scopes: frozenset[Scope]
    by_bearer: bool = False
    """A bearer token is sent on purpose; a browser sends its session by itself, so its writes need a CSRF token."""


@dataclass(frozen=True, slots=True)
class Question:
    """A request, as far as access depends on it."""

    host: str
    peer: str
    """Address of the other end of the connection."""
    scope: Scope
    bearer: str | None = field(default=None, repr=False)
    bearer_token: Token | None = None
    """The token that ``bearer`` is, if it is one."""
    session: Caller | None = None
    """Who signed in, if the session is still good."""
    proxy_user: str = field(default="", repr=False)
    """What the header of ``user_header`` says."""
    impersonal: bool = False
    """The answer holds figures only: programs of this machine may have it without a token."""


@dataclass(frozen=True, slots=True)
class Denied:
    """Why not."""

    reason: Refused
    detail: str


ANYBODY: Final = Caller("anybody", frozenset())
"""A program on this machine that asks for figures, or a proxy that does."""


def decide(question: Question, policy: AccessPolicy) -> Caller | Denied:
    """Return who asks, or why there is no answer."""
    if host_name(question.host) not in policy.hosts:
        detail = "ops does not answer to this Host; ask for localhost, or add the name to DEEDBOX_OPS_HOSTS"
        return Denied(Refused.BAD_HOST, detail)
    caller = _caller(question, policy)
    if isinstance(caller, Denied) or question.scope in caller.scopes or caller is ANYBODY:
        return caller
    return Denied(Refused.FORBIDDEN, f"the token {caller.name} has no scope {question.scope}")


def _caller(question: Question, policy: AccessPolicy) -> Caller | Denied:
    if question.bearer is not None:
        if question.bearer_token is None:
            return Denied(Refused.WRONG_TOKEN, "that token is not valid here")
        return Caller(question.bearer_token.name, question.bearer_token.scopes, by_bearer=True)
    if policy.user_header and is_trusted(question.peer, policy.proxies) and _is_name(question.proxy_user):
        return Caller(question.proxy_user, ALL_SCOPES)
    if question.session is not None:
        return question.session
    if question.impersonal and policy.loopback and is_loopback(question.peer):
        return ANYBODY
    return Denied(
        Refused.UNAUTHORIZED, "this needs a token: Authorization: Bearer <token>, or sign in at /login"
    )


def _is_name(user: str) -> bool:
    # A comma: the header came twice, and one of the two may be the client's.
    return 0 < len(user) <= USER_MAX_CHARS and user.isprintable() and "," not in user


def client_of(peer: str, forwarded_for: str, proxies: Sequence[Network]) -> str:
    """Return the address to count tries by: behind trusted proxies the last one that no proxy of ours has."""
    found = peer
    for address in reversed([part.strip() for part in forwarded_for.split(",") if part.strip()]):
        if not is_trusted(found, proxies):
            break
        found = address
    return found


def is_trusted(address: str, proxies: Sequence[Network]) -> bool:
    """Tell whether an address is one of the proxies'."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    found = getattr(found, "ipv4_mapped", None) or found
    return any(found in network for network in proxies)


def networks(listed: Sequence[str]) -> tuple[Network, ...]:
    """Parse addresses and networks. Raises ValueError."""
    return tuple(ip_network(each, strict=False) for each in listed)


def host_name(host: str) -> str:
    """Return a Host header without its port, in lower case."""
    name, separator, port = host.strip().lower().rpartition(":")
    # An IPv6 address has its colons in brackets.
    return name if separator and port.isdigit() and not name.endswith(":") else host.strip().lower()
