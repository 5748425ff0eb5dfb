"""Callbacks on their way, sealed by the ring: spool, broker, inbox and undecodable dead letters hold them so.

Ingress has no state, so that there is no key of the request yet; the sequencer opens them.
"""

from __future__ import annotations

from dataclasses import replace

from deedbox.shared import sealing
from deedbox.shared.core.envelope import SEALED, Envelope
from deedbox.shared.core.errors import KeyMissing


def sealed(envelope: Envelope) -> Envelope:
    """Return an envelope whose body is sealed, if this process has a key ring."""
    ring = sealing.ring()
    if ring is None or envelope.is_sealed:
        return envelope
    return replace(
        envelope, body=ring.seal(envelope.body, _identity(envelope)), codec=SEALED + envelope.codec
    )


def opened(envelope: Envelope) -> Envelope:
    """Inverse of ``sealed``; what is not sealed stays as it is. Raises KeyMissing, Undecodable."""
    if not envelope.is_sealed:
        return envelope
    ring = sealing.ring()
    if ring is None:
        raise KeyMissing(sealer(envelope) or "?")
    return replace(
        envelope,
        body=ring.open(envelope.body, _identity(envelope)),
        codec=envelope.codec.removeprefix(SEALED),
    )


def sealer(envelope: Envelope) -> str | None:
    """Return the id of the ring key that sealed an envelope; None: it is not sealed."""
    return envelope.body[:4].hex() if envelope.is_sealed else None


def _identity(envelope: Envelope) -> bytes:
    # With where it came from and what was found about the body: a text that moved could else come to a better verdict.
    return f"{envelope.origin}\0{envelope.source}\0{envelope.trace_id}\0{envelope.body_signature}".encode()
