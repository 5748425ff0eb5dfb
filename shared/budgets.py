"""Where the accounts' API budgets are kept, so that workers use them and ops shows them. No API key is in a name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from deedbox.shared.settings import Settings

WINDOW_S: Final = 60


def per_minute(settings: Settings) -> Mapping[str, int]:
    """Return the budgets: kind of call to calls per minute."""
    return {
        "files": settings.files_per_minute,
        "test_files": settings.test_files_per_minute,
        "api": settings.api_per_minute,
    }
