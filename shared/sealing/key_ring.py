"""The key ring, and the data keys that it wraps: AES-256-GCM by the package ``cryptography``.

A ring key seals many things, from many processes. Each of them gets its own key, derived from the ring key and a random
salt: so no two share a key and a nonce, however many there are. A data key seals what is stored about one request, some
thousands of things at most: there a random nonce is enough.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Sequence
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from deedbox.shared.core.errors import KeyMissing, Undecodable

KEY_BYTES: Final = 32
_ID_BYTES: Final = 4
_SALT_BYTES: Final = 16
_NONCE_BYTES: Final = 12
_ONCE: Final = bytes(_NONCE_BYTES)
"""The nonce of a key that seals one thing."""

_CHANGED: Final = "an encrypted text that was changed, moved or cut off"


def key_id(key: bytes) -> str:
    """Name a key, without telling anything of it: 8 hexadecimal characters."""
    return hashlib.blake2b(key, digest_size=_ID_BYTES, person=b"deedbox key id").hexdigest()


def sealed_by(sealed: bytes) -> str:
    """Return the id of the ring key that sealed something."""
    return sealed[:_ID_BYTES].hex()


class KeyRing:
    """Keys of which the first one seals, and each one opens. Safe for threads."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        """``keys``: 32 bytes each, at least one."""
        self._keys = {key_id(key): key for key in keys}
        self.ids = tuple(self._keys)
        self.current = self.ids[0]

    def seal(self, data: bytes, identity: bytes) -> bytes:
        """Return the key's id, the salt and the sealed data. ``identity``: what it is; nothing else opens it."""
        salt = os.urandom(_SALT_BYTES)
        return (
            bytes.fromhex(self.current) + salt + self._aead(self.current, salt).encrypt(_ONCE, data, identity)
        )

    def open(self, sealed: bytes, identity: bytes) -> bytes:
        """Inverse of ``seal``. Raises KeyMissing if the ring lacks the key, Undecodable for anything else."""
        name, salt = sealed_by(sealed), sealed[_ID_BYTES : _ID_BYTES + _SALT_BYTES]
        if name not in self._keys:
            raise KeyMissing(name)
        try:
            return self._aead(name, salt).decrypt(_ONCE, sealed[_ID_BYTES + _SALT_BYTES :], identity)
        except (InvalidTag, ValueError):
            raise Undecodable(_CHANGED) from None

    def rewrapped(self, sealed: bytes, identity: bytes) -> bytes:
        """Return the same under the current key. Raises KeyMissing, Undecodable."""
        return self.seal(self.open(sealed, identity), identity)

    def _aead(self, name: str, salt: bytes) -> AESGCM:
        return AESGCM(hmac.digest(self._keys[name], b"deedbox sealed\0" + salt, "sha256"))


class DataKey:
    """The key of one request. Safe for threads."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._aead = AESGCM(key)
        self.id = hashlib.blake2b(key, digest_size=8, person=b"deedbox data key").hexdigest()

    @classmethod
    def new(cls) -> Self:
        """Make a key."""
        return cls(os.urandom(KEY_BYTES))

    @classmethod
    def unwrap(cls, ring: KeyRing, wrapped: bytes, identity: bytes) -> Self:
        """Take a key out of what ``wrapped`` returned. Raises KeyMissing, Undecodable."""
        return cls(ring.open(wrapped, identity))

    def wrapped(self, ring: KeyRing, identity: bytes) -> bytes:
        """Return the key as it is stored: sealed by the current key of the ring."""
        return ring.seal(self._key, identity)

    def seal(self, data: bytes, identity: bytes) -> bytes:
        """Return nonce and sealed data. ``identity``: what it is; nothing else opens it."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, data, identity)

    def open(self, sealed: bytes, identity: bytes) -> bytes:
        """Inverse of ``seal``. Raises Undecodable."""
        try:
            return self._aead.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], identity)
        except (InvalidTag, ValueError):
            raise Undecodable(_CHANGED) from None
