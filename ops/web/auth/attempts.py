"""How often tokens may be tried: a limit that meets who guesses, and not the owner who shares an address with them."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from deedbox.ops.web.auth.tokens import Token

TRIES_PER_MINUTE: Final = 5
"""Wrong tokens from one address; then it waits."""

PREFIX_CHARS: Final = 4
PREFIX_TRIES_PER_MINUTE: Final = 20
"""Wrong tokens that begin with the same characters, from all addresses: many machines that try variants of one token."""

KNOWN_KEEP: Final = 10_000


class Attempts:
    """Counts wrong tokens in the memory of one process."""

    def __init__(self) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()

    def admits(self, address: str, presented: str, token: Token | None) -> bool:
        """Tell whether to answer at all; a wrong one is counted. ``token``: what ``presented`` is, if it is one.

        Beyond the limit the right token is refused as the wrong ones are, or guessing would go on. A token that was
        right from this address before is always admitted: its owner does not guess.
        """
        if token is not None and (address, token.digest) in self._known:
            return True
        limits = (
            (RateLimitItemPerMinute(TRIES_PER_MINUTE), "address", address),
            (RateLimitItemPerMinute(PREFIX_TRIES_PER_MINUTE), "prefix", presented[:PREFIX_CHARS]),
        )
        if not all(self._limiter.test(limit, *name) for limit, *name in limits):
            return False
        if token is None:
            for limit, *name in limits:
                self._limiter.hit(limit, *name)
        else:
            self._known[address, token.digest] = None
            if len(self._known) > KNOWN_KEEP:
                self._known.popitem(last=False)
        return True
