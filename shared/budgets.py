"""Where the accounts' API budgets are kept, so that workers use them and ops shows them. No API key is in a name."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

from deedbox.shared.settings import Settings

WINDOW_S: Final = 60


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
