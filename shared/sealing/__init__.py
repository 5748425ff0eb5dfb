"""Encryption of what is stored: the key ring of this process, and what is sealed with it.

Set once per process, like the logging: a process opens its ring at its start, and every hop asks ``ring()``. None: nothing is
encrypted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deedbox.shared.core.errors import SettingsError

if TYPE_CHECKING:
    from deedbox.shared.sealing.key_ring import KeyRing
    from deedbox.shared.settings import Settings

_ring: KeyRing | None = None


def configure(settings: Settings) -> None:
    """Take the key ring of the settings. Raises SettingsError if there is one and the library is missing."""
    keys = settings.encryption_ring
    if not keys:
        install(None)
        return
    try:
        from deedbox.shared.sealing.key_ring import KeyRing
    except ImportError:
        raise SettingsError(
            "DEEDBOX_ENCRYPTION_KEYS is set, and the package cryptography is not installed; "
            "pip install 'deedbox[encryption]', or unset it."
        ) from None
    install(KeyRing(keys))


def install(ring: KeyRing | None) -> None:
    """Set the ring; None: encrypt nothing."""
    global _ring  # noqa: PLW0603 - one per process, like the settings that it comes from
    _ring = ring


def ring() -> KeyRing | None:
    """Return the ring of this process; None: nothing is encrypted."""
    return _ring
