"""Who signed a callback, and so how far it is trusted: ``event_hash`` and the ``Content-Sha256`` header.

Sources: docs/protocol.md, sections 1 and 3 (the vendor's OpenAPI helpers in six SDKs, the Events
Walkthrough). ``event_hash`` signs only time and type, so it proves the sender and nothing about the body.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence
from enum import IntEnum, StrEnum
from typing import Final, Self

from deedbox.shared.core.fields import count_of, moment_of
from deedbox.shared.core.values import value

EVENT_HASH_LENGTH: Final = 64
"""Length of ``event_hash``: SHA-256 in lower-case hexadecimal."""


class BodySignature(StrEnum):
    """What the ``Content-Sha256`` header says about the body."""

    VALID = "valid"
    WRONG = "wrong"
    ABSENT = "absent"


class Origin(StrEnum):
    """Who reported an event."""

    CALLBACK = "callback"
    """Dropbox Sign, by a callback."""
    RECONCILED = "reconciled"
    """The API: it shows that the event happened, and no callback of it had come."""
    DEEDBOX = "deedbox"
    """Deedbox itself: an internal event."""


class Trust(IntEnum):
    """How far a body, or a field of the read model, is trusted. A higher level replaces a lower one, never the reverse."""

    DISPUTED = 0
    """``Content-Sha256`` is there and wrong."""
    CLAIMED = 1
    """Only ``event_hash`` fits, which does not sign the body."""
    ATTESTED = 2
    """``Content-Sha256`` fits: the vendor signed this body."""
    CONFIRMED = 3
    """Deedbox read it from the API, or made it."""

    @property
    def word(self) -> str:
        """The level as readers see it."""
        return _WORDS[self]

    @classmethod
    def of(cls, verdict: BodySignature, origin: Origin = Origin.CALLBACK) -> Trust:
        """Return the level of a body, from its origin and the verdict on its header."""
        return _LEVEL_OF[verdict] if origin is Origin.CALLBACK else cls.CONFIRMED

    @classmethod
    def named(cls, word: object) -> Trust:
        """Return the level of that word. Raises ValueError for another one."""
        if word not in _WORDS:
            raise ValueError("is no level of trust")
        return _NAMED[str(word)]


_WORDS: Final = tuple(level.name.lower() for level in Trust)
_NAMED: Final = dict(zip(_WORDS, Trust, strict=True))
_LEVEL_OF: Final = {
    BodySignature.WRONG: Trust.DISPUTED,
    BodySignature.ABSENT: Trust.CLAIMED,
    BodySignature.VALID: Trust.ATTESTED,
}


ENOUGH_VALID: Final = 20
"""Valid headers after which the reading of the header counts as right."""

RECENT_S: Final = 7 * 86_400.0
"""How long (seconds) after the last valid header that counts: a proxy may have begun to take the header away."""


@value
class SignatureEvidence:
    """What recent callbacks of one source have shown about ``Content-Sha256``."""

    valid: int = 0
    """New facts with a valid header, since the API last confirmed one whose header was wrong."""
    last_valid_at: float = 0.0
    """Unix seconds."""
    wrong_at: float | None = None
    """When the API last confirmed a fact whose header was wrong, unix seconds."""

    @classmethod
    def read(cls, valid: bytes | None, last_valid_at: bytes | None, wrong_at: bytes | None) -> Self:
        """Read what is stored; what cannot be read proves nothing."""
        return cls(count_of(valid), moment_of(last_valid_at) or 0.0, moment_of(wrong_at))

    def proves(self, now: float) -> bool:
        """Return whether the header is read as the vendor writes it, so that a body without a valid one is not genuine."""
        return self.valid >= ENOUGH_VALID and now - self.last_valid_at < RECENT_S


def event_hash(api_key: str, event_time: str, event_type: str) -> str:
    """Return the ``event_hash`` that Dropbox Sign sends: HMAC-SHA256 of time + type, no separator, in hex.

    ``event_time`` and ``event_type`` are the received texts, never a parsed number or an enum: official
    SDKs that hash an enum refuse genuine callbacks of types that they do not know.
    """
    message = (event_time + event_type).encode("utf-8", "surrogatepass")
    return hmac.digest(api_key.encode(), message, "sha256").hex()


def content_sha256(api_key: str, json_text: bytes) -> str:
    """Return the ``Content-Sha256`` header for a body: base64 of the hex HMAC-SHA256 of the ``json`` text."""
    return base64.b64encode(hmac.digest(api_key.encode(), json_text, "sha256").hex().encode()).decode()


def verify_event_hash(key_ring: Sequence[str], event_time: str, event_type: str, received: str) -> bool:
    """Return whether any key of the ring signed this time and type.

    Constant time per key; every key is tried, so that the answer's timing does not tell which one fits.
    """
    if len(received) != EVENT_HASH_LENGTH or not received.isascii():
        return False
    verdict = False
    for key in key_ring:
        verdict |= hmac.compare_digest(event_hash(key, event_time, event_type), received)
    return verdict


def verify_body(key_ring: Sequence[str], json_text: bytes, header: str | None) -> BodySignature:
    """Compare the ``Content-Sha256`` header with the received bytes of the ``json`` text.

    Both base64 forms count as valid: of the hexadecimal digest (seen in captures of the older
    ``Content-MD5``) and of the raw digest, because no capture of the current header is public.
    """
    if header is None or not header.strip():
        return BodySignature.ABSENT
    received = header.strip().encode("utf-8", "replace")
    verdict = False
    for key in key_ring:
        digest = hmac.digest(key.encode(), json_text, "sha256")
        verdict |= hmac.compare_digest(base64.b64encode(digest.hex().encode()), received)
        verdict |= hmac.compare_digest(base64.b64encode(digest), received)
    return BodySignature.VALID if verdict else BodySignature.WRONG
