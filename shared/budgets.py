"""Where the accounts' API budgets are kept, so that workers use them and ops shows them. No key is named."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

from limits import RateLimitItem, RateLimitItemPerMinute

from deedbox.shared.redis import keys
from deedbox.shared.settings import Settings

WINDOW_S: Final = 60
STORAGE_PREFIX: Final = keys.PREFIX + "budget"
"""Before the keys of the library ``limits``: a list of the calls of the last minute, newest first."""


def account_of(api_key: str) -> str:
    """Name the account of an API key, without the key: sources with one key share one budget."""
    return hashlib.blake2b(api_key.encode(), digest_size=8).hexdigest()


def per_minute(settings: Settings) -> Mapping[str, int]:
    """Return the budgets: kind of call to calls per minute."""
    return {
        "files": settings.files_per_minute,
        "test_files": settings.test_files_per_minute,
        "api": settings.api_per_minute,
    }


def item(rate: int) -> RateLimitItem:
    """Return a budget as the library knows it."""
    return RateLimitItemPerMinute(rate)


def calls_key(kind: str, account: str, rate: int) -> str:
    """Return the list in which the library keeps an account's calls of one kind."""
    return f"{STORAGE_PREFIX}:{item(rate).key_for(kind, account)}"
