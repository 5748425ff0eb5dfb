"""One HTTP POST to a receiver that a setting names: never to an address inside, unless that setting allows it.

The name is looked up once, each of its addresses is checked, and the connection goes to the checked address. A name that
changes between check and connection (DNS rebinding) therefore gains nothing, and redirects are not followed.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, Timeout
from urllib3.exceptions import HTTPError

from deedbox.shared.core.errors import Unavailable
from deedbox.shared.runtime.ports import is_inside

CONNECT_S: Final = 5.0
ANSWER_S: Final = 15.0
"""Standard Webhooks recommends 15 to 30 s for an answer; a receiver that takes longer keeps a process from others."""


_SHORT: Final = frozenset(map(str, range(1025)))
"""Lengths of an answer (bytes, as the header spells them) that are read to their end."""


class PrivateAddress(Exception):
    """The name leads to an address inside, which the destination does not allow."""


class Answered(NamedTuple):
    """What a receiver answered."""

    status: int
    retry_after: str
    """The header; empty: there is none."""


class Poster:
    """Posts to one URL, over a connection that it keeps. One per process and receiver."""

    def __init__(self, url: str, *, allow_private: bool) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._tls = parts.scheme == "https"
        self._port = parts.port or (443 if self._tls else 80)
        self._netloc = parts.netloc
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._allow_private = allow_private
        self._pool: tuple[str, HTTPConnectionPool] | None = None

    def post(self, body: bytes, headers: Mapping[str, str]) -> Answered:
        """Send, and return the answer's status. Raises Unavailable, in words without URL or body, or PrivateAddress."""
        try:
            pool = self._pool_to(self._address())
            answer = pool.urlopen(
                "POST", self._target, body, {**headers, "Host": self._netloc}, retries=False, redirect=False,
                timeout=Timeout(connect=CONNECT_S, read=ANSWER_S), preload_content=False,
            )  # fmt: skip
        except (HTTPError, OSError, UnicodeError) as error:  # UnicodeError: a name that no name server takes
            self._pool = None
            raise Unavailable(f"{self._host} does not answer ({type(error).__name__})") from None
        try:
            # Nothing depends on the answer's body. A short one is read, so that the connection can be used again.
            if answer.headers.get("Content-Length", "").strip() in _SHORT:
                answer.drain_conn()
            return Answered(answer.status, answer.headers.get("Retry-After", ""))
        finally:
            answer.close()

    def _address(self) -> str:
        found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
        if not self._allow_private and any(is_inside(ip_address(each)) for each in addresses):
            raise PrivateAddress(self._host)
        return addresses[0]

    def _pool_to(self, address: str) -> HTTPConnectionPool:
        if self._pool is None or self._pool[0] != address:
            options: dict[str, Any] = {"maxsize": 1}
            if self._tls:
                pool: HTTPConnectionPool = HTTPSConnectionPool(
                    address, self._port, server_hostname=self._host, assert_hostname=self._host, **options
                )
            else:
                pool = HTTPConnectionPool(address, self._port, **options)
            self._pool = (address, pool)
        return self._pool[1]
