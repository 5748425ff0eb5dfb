"""The text of DEEDBOX_ENCRYPTION_KEYS."""

from __future__ import annotations

import re
from typing import Final

_KEY: Final = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)


def ring_keys(text: str) -> tuple[bytes, ...]:
    """Return the keys, the current one first. Raises ValueError with a sentence that quotes no key."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    for number, part in enumerate(parts, 1):
        if _KEY.fullmatch(part) is None:
            raise ValueError(
                f"DEEDBOX_ENCRYPTION_KEYS: key {number} is not 64 hexadecimal characters; make one with `openssl rand -hex 32`."
            )
    keys = tuple(bytes.fromhex(part) for part in parts)
    if not keys:
        raise ValueError("DEEDBOX_ENCRYPTION_KEYS holds no key; make one with `openssl rand -hex 32`.")
    if len(set(keys)) < len(keys):
        raise ValueError("DEEDBOX_ENCRYPTION_KEYS names one key twice; each stands there once.")
    return keys
