"""A delivered callback on its way through the sequencer: identified, and grouped with its stream's state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from deedbox.shared import codec
from deedbox.shared.core.callback import parse_callback
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.fields import count_of
from deedbox.shared.core.identity import Fact, identify
from deedbox.shared.core.ordering import Arrival, SequenceState
from deedbox.shared.core.signature import Origin, Trust
from deedbox.shared.core.snapshot import arrival_of
from deedbox.shared.core.values import value
from deedbox.shared.records.stored_event import ASIDE, StoredEvent
from deedbox.shared.sealing.envelopes import opened


@dataclass(slots=True)
class Delivered:
    """One callback of the batch, identified."""

    fact: Fact
    arrival: Arrival
    stored: StoredEvent
    text_bytes: int
    """Length of the callback's text, uncompressed."""
    entry: bytes = field(default=b"", repr=False)
    """As the inbox holds it."""
    redriven: bool = False
    """An operator sent it again: it is a separate fact, and its age does not matter."""

    @property
    def is_reconciled(self) -> bool:
        """Whether it was made of an answer of the API."""
        return self.stored.origin is Origin.RECONCILED

    @property
    def is_vouched_for(self) -> bool:
        """Whether more than ``event_hash``, which does not sign it, speaks for its body."""
        return self.arrival.trust >= Trust.ATTESTED

    @property
    def body_name(self) -> str:
        """Name of this body of its fact, where it is kept beside another one or set aside."""
        return f"{self.fact.fingerprint}:{self.stored.body_digest}"

    def name_body(self) -> None:
        """Compute the digest of its body: seldom needed, and a tenth of the work of an arrival."""
        self.stored = self.stored.with_digest()


@value
class SetAside:
    """An event that is set aside: what its dead letter says."""

    fingerprint: str
    arrived_at: float
    source: str = ""
    key: str = ""
    event_type: str = ""
    trace_id: str = ""

    @classmethod
    def of(cls, stored: StoredEvent) -> SetAside:
        """Name a stored event."""
        return cls(
            stored.fingerprint, stored.arrived_at, stored.source, stored.ordering_key, stored.event_type, stored.trace_id
        )  # fmt: skip


@value
class KnownBody:
    """The body of a fact that was seen before."""

    stored: StoredEvent | None
    """None: the stored event is gone."""
    digest: str = ""
    """Empty like that of an arrival: both have the same body."""
    trust: Trust = Trust.CLAIMED
    aside: bool = False
    """The fact was set aside instead of released."""
    other_bodies: int = 0
    """Other bodies of it that are kept."""

    @classmethod
    def of(cls, stored: StoredEvent) -> KnownBody:
        """Return the body of an event."""
        return cls(stored, stored.body_digest, stored.trust)

    @classmethod
    def read(cls, fields: Mapping[bytes, bytes]) -> KnownBody:
        """Read what is stored of a fact. A level that cannot be read counts as the highest: nothing replaces it."""
        stored = StoredEvent.load("", fields)
        found, trust = (stored, stored.trust) if stored else (None, Trust.CONFIRMED)
        return cls(
            found,
            found.body_digest if found else "",
            trust,
            ASIDE.encode() in fields,
            count_of(fields.get(b"bodies")),
        )

    def is_same(self, stored: StoredEvent) -> bool:
        """Return whether an event has the same body, as far as anybody can still tell."""
        return self.stored is None or self.digest == stored.body_digest

    def is_worse(self, stored: StoredEvent) -> bool:
        """Return whether the body of an event is to replace this one: the first one of a level stays."""
        return self.stored is not None and stored.trust > self.trust


@dataclass(slots=True)
class StreamWork:
    """Everything that one commit needs to know about one stream."""

    signed: bool = False
    """Its source signs every body, as recent traffic has shown: what is not signed is set aside."""
    set_aside: set[str] = field(default_factory=set)
    """Names of the unsigned bodies that were set aside before."""

    ordered: bool = True
    is_due: bool = False
    """A hold may be over."""
    delivered: list[Delivered] = field(default_factory=list)
    state: SequenceState = field(default_factory=SequenceState)
    unreadable: bool = False
    """The stored order state cannot be read: what arrives is set aside, until an operator sends it again."""
    stranded: list[SetAside] = field(default_factory=list)
    """Events that the unreadable state held."""
    known: dict[str, KnownBody] = field(default_factory=dict)
    """By fingerprint: the body that counts, for arrivals that were seen before."""

    @property
    def is_touched(self) -> bool:
        """Whether there is anything to write about it."""
        return self.is_due or bool(self.delivered or self.stranded)

    def unvouched(self) -> list[Delivered]:
        """Return the arrivals that may be set aside, because their source signs every body."""
        return [each for each in self.delivered if self.signed and not each.is_vouched_for]

    def name_bodies(self, *, all_of_them: bool) -> None:
        """Compute the digests of the bodies of a fact that are not all the same."""
        if all_of_them:
            for each in self.delivered:
                each.name_body()
        if not self.known and len({each.fact.fingerprint for each in self.delivered}) == len(self.delivered):
            return
        by_fact: dict[str, list[Delivered]] = {}
        for each in self.delivered:
            by_fact.setdefault(each.fact.fingerprint, []).append(each)
        for name, arrivals in by_fact.items():
            known = self.known.get(name, KnownBody.of(arrivals[0].stored))
            first = known.stored
            if first is None or all(first is each.stored or first.is_as(each.stored) for each in arrivals):
                continue
            for each in arrivals:
                each.name_body()
            if name in self.known:
                self.known[name] = replace(known, digest=first.with_digest().body_digest)


def part_unsigned(work: StreamWork, arrivals: Sequence[Delivered]) -> tuple[list[Delivered], list[Delivered]]:
    """Part the new facts that nothing but ``event_hash`` vouches for, where the source signs every body.

    Repeats of known facts go on: the better body stays. What an operator sends again goes on, too.
    """
    if not work.signed:
        return list(arrivals), []
    vouched = {each.fact.fingerprint for each in arrivals if each.is_vouched_for} | work.known.keys()
    kept: list[Delivered] = []
    unsigned: list[Delivered] = []
    for each in arrivals:
        passes = each.redriven or each.fact.fingerprint in vouched
        (kept if passes else unsigned).append(each)
    return kept, unsigned


def delivered(envelope: Envelope, appended_at: float, entry: bytes = b"") -> Delivered:
    """Identify a callback. Raises BadCallback, KeyMissing, Undecodable, RecursionError."""
    envelope = opened(envelope)
    text = codec.decode(envelope.codec, envelope.body)
    callback = parse_callback(text)
    fact = identify(envelope.source, callback, envelope.redrive)
    arrival = arrival_of(
        callback.event_type,
        callback.event_time,
        callback.related_signature_id,
        fact.fingerprint,
        callback.payload,
        Trust.of(envelope.body_signature, envelope.origin),
        envelope.origin,
    )
    stored = StoredEvent(
        fingerprint=fact.fingerprint,
        source=envelope.source,
        ordering_key=str(fact.key),
        event_type=callback.event_type,
        event_time=callback.event_time,
        related_signature_id=callback.related_signature_id,
        received_at=envelope.received_at,
        arrived_at=appended_at,
        body_signature=envelope.body_signature,
        trace_id=envelope.trace_id,
        body_digest="",
        body=envelope.body,
        codec=envelope.codec,
        span_id=envelope.span_id,
        origin=envelope.origin,
    )
    return Delivered(fact, arrival, stored, len(text), entry, redriven=bool(envelope.redrive))
