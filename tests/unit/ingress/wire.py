"""What Dropbox Sign puts on the wire, built for tests, and a broker that remembers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.errors import Unavailable
from deedbox.shared.core.signature import event_hash
from deedbox.shared.settings import Settings

KEY = "324e3b0840f065eb51f3fd63231d0d33daa35d4ed10d27718839e81737065782"
"""The test key that the vendor publishes with its callback fixtures."""

OTHER_KEY = "4e94adf59d17c417ce0d1d2cb34b953ba7a1eebe1ecbe31bb1c586af92af1e1d"

BOUNDARY = "------------------------d74496d66958873e"


def callback(
    event_type: str = "signature_request_viewed",
    event_time: str | int = "1348177752",
    *,
    key: str = KEY,
    **more: Any,
) -> bytes:
    """Return the ``json`` text of a signed callback."""
    event = {
        "event_type": event_type,
        "event_time": event_time,
        "event_hash": event_hash(key, str(event_time), event_type),
    }
    return json.dumps({"event": event, **more}).encode()


def multipart(text: bytes, name: str = "json", part_headers: str = "") -> bytes:
    """Return the body of a multipart form with one field, as libcurl writes it."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{part_headers}\r\n\r\n'
    return head.encode() + text + f"\r\n--{BOUNDARY}--\r\n".encode()


MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"


def settings(**env: str) -> Settings:
    """Return settings as from the environment, with the published test key and without a spool."""
    return Settings.load(
        {
            "DEEDBOX_API_KEYS": KEY,
            "DEEDBOX_REDIS_URL": "redis://:s3cret-word@127.0.0.1:1/0",
            "DEEDBOX_SPOOL": "off",
            "DEEDBOX_DATA_DIR": "/nonexistent/deedbox",
            **env,
        }
    )


@dataclass
class RememberingBroker:
    """A broker in memory; ``down`` makes it unavailable, ``broken`` a bug."""

    published: list[Envelope] = field(default_factory=list)
    down: bool = False
    broken: Exception | None = None

    def publish(self, envelope: Envelope) -> None:
        """Remember the envelope."""
        self.ping()
        self.published.append(envelope)

    def publish_many(self, envelopes: Sequence[Envelope]) -> None:
        """Remember them all."""
        self.ping()
        self.published.extend(envelopes)

    def ping(self) -> None:
        """Raise if told to."""
        if self.broken is not None:
            raise self.broken
        if self.down:
            raise Unavailable("the broker did not confirm (ConnectionRefusedError)")
