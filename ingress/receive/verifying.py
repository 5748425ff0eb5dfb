"""``deedbox.verify``: the ladder alone, for applications that have a handler of their own."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from deedbox.ingress.receive.ladder import LadderPolicy, Received, RefusedCallback, judge
from deedbox.shared.core.callback import outward, parse_callback
from deedbox.shared.core.errors import DeedboxError
from deedbox.shared.core.signature import Trust

JSON: Final = "application/json"


class HasItems(Protocol):
    """Headers as frameworks and the standard library have them."""

    def items(self) -> Iterable[tuple[Any, Any]]: ...


Headers = HasItems | Iterable[tuple[Any, Any]]
"""A mapping as frameworks have it, or the pairs of ASGI; names in any case, texts or bytes."""

ApiKeys = str | bytes | Iterable[str | bytes]


class NotVerified(DeedboxError):
    """These bytes are no callback that a holder of these keys sent. The text says why, and quotes nothing of them."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        """Such as ``bad_event_hash``; the runbook explains each."""
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Verified:
    """A callback that a holder of one of the keys sent."""

    event_type: str
    event_time: int
    """Unix seconds."""
    payload: Mapping[str, Any] = field(repr=False)
    """The callback, without ``event_hash``."""
    trust: str
    """``attested``: ``Content-Sha256`` signs the body. ``claimed``: the header is absent. ``disputed``: it is wrong."""


def verify(body: bytes, headers: Headers, api_keys: ApiKeys) -> Verified:
    """Verify a request that Dropbox Sign sent, as Deedbox's own receiver does. Does nothing else.

    ``body``: the raw bytes of the request, a form or JSON. ``headers``: those of the request. ``api_keys``: the API key of
    the account, or several of them, any of which may have signed. Raises NotVerified for whatever was sent, and TypeError
    for arguments that no request causes.
    """
    if not isinstance(body, bytes | bytearray | memoryview):
        raise TypeError("verify takes the raw body of the request as bytes")
    ring, named, raw = _key_ring(api_keys), _named(headers), bytes(body)
    content_type = named.get("content-type")
    if content_type is None and raw.lstrip()[:1] == b"{":
        content_type = JSON
    policy = LadderPolicy({"default": ring}, body_max_bytes=len(raw))
    verdict = judge(
        Received("default", "POST", content_type, named.get("content-sha256"), raw, time.time()), policy
    )
    if isinstance(verdict, RefusedCallback):
        raise NotVerified(str(verdict.reason), verdict.detail)
    callback = parse_callback(verdict.json_text)
    trust = Trust.of(verdict.body_signature).word
    return Verified(callback.event_type, callback.event_time, outward(callback.payload), trust)


def _key_ring(api_keys: object) -> tuple[str, ...]:
    given = [api_keys] if isinstance(api_keys, str | bytes) else api_keys
    if not isinstance(given, Iterable):
        raise TypeError("api_keys is no API key and no list of them; is the variable that holds it set?")
    ring = tuple(_key(each) for each in given)
    if not ring:  # an empty ring verifies nothing: that is a mistake in the settings, not a forgery
        raise TypeError("api_keys is empty; give at least one API key")
    return ring


def _key(given: object) -> str:
    try:
        key = given.decode() if isinstance(given, bytes) else given
        if isinstance(key, str) and key.strip() and key.encode():
            return key
    except UnicodeError:
        pass
    raise TypeError("an API key is a non-empty text")


def _named(headers: object) -> dict[str, str]:
    pairs: Any = headers.items() if hasattr(headers, "items") else headers
    found: dict[str, str] = {}
    try:
        for name, value in pairs:
            found.setdefault(_text(name).lower().replace("_", "-"), _text(value))
    except (TypeError, ValueError):
        raise TypeError("headers is a mapping, or a list of pairs, of texts or bytes") from None
    return found


def _text(given: object) -> str:
    if isinstance(given, bytes):
        return given.decode("latin-1")
    if not isinstance(given, str):
        raise TypeError
    return given
