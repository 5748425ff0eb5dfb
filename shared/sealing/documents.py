"""Documents, sealed by one key per request, which lies wrapped beside them: a lost Redis loses no document.

A file and a text of its sidecar are sealed for their request and name, so that neither can stand in for another. A document is
sealed as a whole: a worker has it in memory anyway.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Final, Self

from deedbox.shared import sealing
from deedbox.shared.core.errors import KeyMissing, Undecodable
from deedbox.shared.sealing.key_ring import DataKey, sealed_by

_TEXT: Final = "sealed:"


class FolderKey:
    """The key of one request's documents. ``folder``: source and request."""

    def __init__(self, folder: str, key: DataKey) -> None:
        self._folder = folder
        self._key = key
        self.id = key.id

    @classmethod
    def new(cls, folder: str) -> Self:
        """Make a key."""
        return cls(folder, DataKey.new())

    @classmethod
    def load(cls, folder: str, text: bytes) -> Self:
        """Read a key file. Raises KeyMissing, Undecodable."""
        wrapped = _wrapped(text)
        ring = sealing.ring()
        if ring is None:
            raise KeyMissing(sealed_by(wrapped))
        return cls(folder, DataKey.unwrap(ring, wrapped, _identity(folder)))

    def dump(self) -> bytes:
        """Return the key file, under the current key of the ring."""
        ring = sealing.ring()
        if ring is None:
            raise KeyMissing("?")
        return _text(self.id, self._key.wrapped(ring, _identity(self._folder)))

    def seal(self, name: str, data: bytes) -> bytes:
        """Seal a file."""
        return self._key.seal(data, f"file\0{self._folder}\0{name}".encode())

    def open(self, name: str, data: bytes) -> bytes:
        """Inverse of ``seal``. Raises Undecodable."""
        return self._key.open(data, f"file\0{self._folder}\0{name}".encode())

    def seal_text(self, text: str) -> str:
        """Seal a text of a sidecar."""
        sealed = self._key.seal(text.encode("utf-8", "replace"), f"text\0{self._folder}".encode())
        return _TEXT + base64.b64encode(sealed).decode()


def wrapped_by(text: bytes) -> str:
    """Return the id of the ring key that wraps the key of a key file. Raises Undecodable."""
    return sealed_by(_wrapped(text))


def _wrapped(text: bytes) -> bytes:
    try:
        return base64.b64decode(json.loads(text)["wrapped"], validate=True)
    except (ValueError, KeyError, TypeError, binascii.Error):
        raise Undecodable("a key file that is damaged") from None


def _text(key_id: str, wrapped: bytes) -> bytes:
    return json.dumps({"id": key_id, "wrapped": base64.b64encode(wrapped).decode()}).encode() + b"\n"


def _identity(folder: str) -> bytes:
    return b"documents\0" + folder.encode()
