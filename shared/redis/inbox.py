"""The inbox: where the bridge puts callbacks and the sequencer finds them, in shards."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import islice
from typing import TYPE_CHECKING, Final

from deedbox.shared import codec
from deedbox.shared.broker.message import decode_kombu, encode_kombu
from deedbox.shared.core.callback import parse_callback
from deedbox.shared.core.envelope import SEALED, Envelope
from deedbox.shared.core.errors import BadCallback, Undecodable
from deedbox.shared.core.identity import OrderingKey, ordering_key, shard_of
from deedbox.shared.core.reasons import DeathReason
from deedbox.shared.redis import keys, script_calls
from deedbox.shared.redis.script_calls import RawClaim
from deedbox.shared.redis.scripting import Scripts
from deedbox.shared.runtime import telemetry

if TYPE_CHECKING:
    from deedbox.shared.runtime.spans import Span, Spans


PROBE: Final = b"deedbox check"
"""Body of a test message. No callback has it: ingress takes JSON only."""


MENTIONS_MAX: Final = 8
"""Ids of one unreadable message that are noted: a callback is about one request."""

_IDS: Final = re.compile(rb'"signature_request_id"\s*:\s*"([A-Za-z0-9_-]{1,128})"|\b([0-9a-f]{40})\b')


@dataclass(slots=True)
class Load:
    """A batch on its way into the inbox."""

    entries: list[tuple[int, bytes]] = field(default_factory=list)
    """Shard and packed envelope."""
    redriven: list[bytes] = field(default_factory=list)
    quarantined: list[tuple[bytes, str]] = field(default_factory=list)
    """Message in kombu's form, and why it cannot be decoded."""
    envelopes: list[Envelope] = field(default_factory=list)
    """What the entries hold."""
    spans: list[Span] = field(default_factory=list)
    """Of the callbacks that are traced; the caller that appends the batch ends them."""
    probes: list[str] = field(default_factory=list)
    """Trace ids of the test messages of ``deedbox check``, which are no callbacks."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to append."""
        return not (self.entries or self.redriven or self.quarantined)

    def add_message(self, message: bytes) -> None:
        """Add a message as kombu's Redis transport stores it; quarantine it if it cannot be decoded."""
        try:
            self.add(Envelope.from_headers(*decode_kombu(message)))
        except Undecodable as error:
            self.quarantined.append((message, str(error)))

    def add_parts(self, headers: dict[str, object], body: bytes) -> None:
        """Add a message of any other transport."""
        try:
            self.add(Envelope.from_headers(headers, body))
        except Undecodable as error:
            known = {name: value for name, value in headers.items() if isinstance(value, str | int | float)}
            self.quarantined.append((encode_kombu(known, body), str(error)))

    def add(self, envelope: Envelope) -> None:
        """Add a callback to the shard of its stream."""
        if envelope.body == PROBE:
            self.probes.append(envelope.trace_id)
            return
        moving = telemetry.spans()
        if moving is not None:
            envelope = self._traced(moving, envelope)
        self.envelopes.append(envelope)
        shard = envelope.shard
        if shard is None:
            shard = shard_of(f"{envelope.source}:{envelope.key or _key(envelope)}")
        self.entries.append((shard, envelope.pack()))

    def _traced(self, moving: Spans, envelope: Envelope) -> Envelope:
        span = moving.resume("bridge.move", envelope.trace_id, envelope.span_id)
        if span is None:
            return envelope
        span.set(source=envelope.source)
        self.spans.append(span)
        return replace(envelope, span_id=span.span_id)


def _key(envelope: Envelope) -> OrderingKey:
    """Derive the ordering key, only to choose the shard; what the sequencer cannot parse may lie anywhere."""
    try:
        return ordering_key(parse_callback(codec.body_of(envelope)))
    except (BadCallback, Undecodable):
        return OrderingKey("type", "undecodable")


def stream_of(message: bytes) -> str:
    """Return the stream of a message in kombu's form, as far as it can be read; else an empty text."""
    try:
        envelope = Envelope.from_headers(*decode_kombu(message))
        key = envelope.key or str(ordering_key(parse_callback(codec.body_of(envelope))))
    except (Undecodable, BadCallback, RecursionError):
        return ""
    return f"{envelope.source}:{key}"


def mentions(message: bytes) -> str:
    """Return the ordering keys that an unreadable message may be about, separated by spaces: an erasure finds it there.

    Ids are looked for in its text. Empty for a message whose key can be read.
    """
    if stream_of(message):
        return ""
    found = _IDS.findall(callback_in(message))
    ids = dict.fromkeys(named or bare for named, bare in found)
    return " ".join(
        f"{kind}/{each.decode()}"
        for each in islice(ids, MENTIONS_MAX)
        for kind in ("signature_request", "fax")
    )


def callback_in(message: bytes) -> bytes:
    """Return the callback's text in a message in kombu's form, uncompressed; the message as it is if it has none."""
    try:
        headers, body = decode_kombu(message)
        if str(headers.get("codec", "")).startswith(SEALED):
            return codec.body_of(Envelope.from_headers(headers, body))
        return codec.decode(str(headers.get("codec", "")), body)
    except (Undecodable, RecursionError):
        return message


def append(scripts: Scripts, load: Load, claim: RawClaim | None = None, bridge: str = "") -> bool:
    """Append a batch in one call, dropping the claim with it if broker and state are the same Redis.

    ``bridge``: whose last batch it is; the same batch again is confirmed, not written.
    Returns whether the sequencer must be rung. Raises Unavailable; then nothing was written, or all of it.
    """
    return script_calls.append(
        scripts,
        entries=load.entries,
        redriven=load.redriven,
        letters=map(_letter, load.quarantined),
        claim=claim,
        batch=(keys.bridged(bridge), _digest(load)) if bridge else script_calls.NO_BATCH,
    )


def _digest(load: Load) -> bytes:
    """Return what two batches share only if they are the same deliveries: each has its trace id."""
    digest = blake2b(digest_size=16)
    for envelope in load.envelopes:
        digest.update(
            f"{envelope.trace_id} {envelope.redrive} {len(envelope.body)} ".encode() + envelope.body
        )
    for message, _ in load.quarantined:
        digest.update(b"%d " % len(message) + message)
    return digest.digest()


def _letter(quarantined: tuple[bytes, str]) -> Mapping[str, str | bytes]:
    message, detail = quarantined
    return {"reason": DeathReason.UNDECODABLE, "detail": detail, "raw": message, **about(message)}


def about(message: bytes) -> dict[str, str]:
    """Return the fields of a dead letter by which a raw message is found again: its key, or what it mentions."""
    source, _, key = stream_of(message).partition(":")
    return {"source": source, "key": key} if key else {"mentions": mentions(message)}
