"""What Redis holds about one stream, as one compressed value: ``archive:<stream>``.

The keys of a quiet stream repeat each other: an event's body is the one before with a few fields changed, and the timeline
names each event several times. Together they compress to about a tenth. So what is compressed is unpacked before, and compressed
again when the stream is restored; what is encrypted stays as it is. The ``event_hash`` of a body is left out: it is random, so that
it takes an eighth of an archive, and ingress has verified it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field, replace
from itertools import chain
from typing import Final, Self

from deedbox.shared import codec
from deedbox.shared.core import jsontext
from deedbox.shared.core.callback import without_hash
from deedbox.shared.core.errors import Undecodable
from deedbox.shared.core.fields import WHAT_DECODERS_RAISE, Unreadable
from deedbox.shared.core.values import value
from deedbox.shared.records import stored_event, timeline_line

FORM: Final = "archive"

LIMIT_BYTES: Final = 4 * 1024 * 1024
"""Unpacked. What would be larger is not archived: restoring it would stall Redis."""

UNPACKED_MAX: Final = 64 * 1024
"""A longer body, unpacked, is kept compressed: it holds an image, which repeats nothing."""

VALUES: Final = ("order", "request", "document")
"""Kinds of a stream's keys that hold one value."""

_VERSION: Final = b"1"
_PIECES: Final = frozenset(name.encode() for name in stored_event.FIELDS)
_HEAD: Final = b"head"
_TEXT: Final = b"text"
_BODY: Final = b"body"
"""Instead of ``text``: a body that stays as it is."""


@value
class ArchivedEvent:
    """One stored event."""

    fields: Mapping[bytes, bytes]
    """As its hash had them; ``head`` and ``text`` instead of the pieces of what could be unpacked."""
    ends_at: float
    """Unix seconds: until when its body is kept."""

    def plain(self) -> Self:
        """Unpack facts and body where that can be undone, the body last: what precedes it is alike in all events."""
        fields = self.fields
        try:
            facts = stored_event.facts_of(stored_event.head_of(fields))
            name = facts[stored_event.CODEC_AT]
            body = stored_event.body_of(fields)
            text = codec.decode(name, body) if name == codec.CODEC else b""
            text = without_hash(text)
        except WHAT_DECODERS_RAISE:
            return self
        rest = {each: fields[each] for each in fields if each not in _PIECES}
        last = {_TEXT: text} if 0 < len(text) <= UNPACKED_MAX else {_BODY: body}
        return type(self)({_HEAD: jsontext.dumps(facts), **rest, **last}, self.ends_at)

    def live(self) -> dict[bytes, bytes]:
        """Return the fields of its hash, facts and body whole: the inverse of ``plain``."""
        fields = dict(self.fields)
        head, text, body = (fields.pop(each, None) for each in (_HEAD, _TEXT, _BODY))
        if head is None:
            return fields
        facts = jsontext.loads(head)
        if text is not None:
            facts[stored_event.CODEC_AT], body = codec.encode(text)
        return {**stored_event.whole(stored_event.packed(facts), body or b""), **fields}


@value
class StreamArchive:
    """Everything about one stream."""

    seen: Mapping[bytes, float] = field(default_factory=dict)
    """Dedupe memory: name and arrival."""
    timeline: tuple[bytes, ...] = ()
    values: Mapping[str, bytes] = field(default_factory=dict)
    """By kind, of ``VALUES``."""
    finds: Mapping[bytes, bytes] = field(default_factory=dict)
    events: Mapping[bytes, ArchivedEvent] = field(default_factory=dict)
    """By name."""
    ends_at: float = 0
    """Unix seconds: until when all but the events is kept."""

    def until(self) -> float:
        """Return when nothing of it is kept any more (unix seconds)."""
        return max(self.ends_at, *(each.ends_at for each in self.events.values()), 0.0)

    def without_expired(self, now: float) -> Self:
        """Leave out the events whose bodies are kept no longer."""
        kept = {name: each for name, each in self.events.items() if each.ends_at > now}
        return type(self)(self.seen, self.timeline, self.values, self.finds, kept, self.ends_at)

    def beneath(self, live: StreamArchive, lines_max: int) -> Self:
        """Merge with what was written since, which counts where both have something."""
        lines = (*self.timeline, *live.timeline)[-lines_max:]
        return type(self)(
            {**self.seen, **live.seen}, lines, {**self.values, **live.values}, {**self.finds, **live.finds},
            {**self.events, **live.events}, max(self.ends_at, live.ends_at),
        )  # fmt: skip

    def plain(self) -> Self:
        """Unpack what is compressed; readers take either form."""
        events = {name: event.plain() for name, event in self.events.items()}
        values = {kind: _plain(each) for kind, each in self.values.items()}
        return replace(
            self, timeline=tuple(map(timeline_line.plain, self.timeline)), values=values, events=events
        )

    def dump(self) -> bytes | None:
        """Return the value, of which ``load`` is the inverse; None if it is too large to be one."""
        text = b"".join(map(_lengthy, self._parts()))
        return codec.pack(text, codec.ARCHIVE_LEVEL) if len(text) <= LIMIT_BYTES else None

    def _parts(self) -> Iterator[bytes]:
        yield _VERSION
        yield _number(self.ends_at)
        yield from (self.values.get(kind, b"") for kind in VALUES)
        yield from _listed(chain.from_iterable(self.finds.items()))
        yield from _listed(chain.from_iterable((name, _number(at)) for name, at in self.seen.items()))
        yield from _listed(self.timeline)
        for name, event in self.events.items():
            yield name
            yield _number(event.ends_at)
            yield from _listed(chain.from_iterable(event.fields.items()))

    @classmethod
    def load(cls, data: bytes) -> Self | Unreadable:
        """Rebuild it; Unreadable for any bytes that ``dump`` does not write."""
        try:
            return cls._read(_Reader(codec.unpack(data, LIMIT_BYTES)))
        except WHAT_DECODERS_RAISE:
            return Unreadable(FORM, len(data))

    @classmethod
    def _read(cls, reader: _Reader) -> Self:
        if reader.part() != _VERSION:
            raise ValueError
        ends_at = reader.number()
        values = {kind: packed for kind in VALUES if (packed := reader.part())}
        finds, seen, timeline = reader.pairs(), reader.pairs(), tuple(reader.listed())
        events = {}
        while reader.more:
            name, end = reader.part(), reader.number()
            events[name] = ArchivedEvent(reader.pairs(), end)
        return cls({name: _time(at) for name, at in seen.items()}, timeline, values, finds, events, ends_at)


class _Reader:
    """Takes an archive's text apart. Every method raises ValueError at its end."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._at = 0

    @property
    def more(self) -> bool:
        return self._at < len(self._text)

    def part(self) -> bytes:
        size = self._size()
        if size > len(self._text) - self._at:
            raise ValueError
        self._at += size
        return self._text[self._at - size : self._at]

    def number(self) -> float:
        return _time(self.part())

    def listed(self) -> list[bytes]:
        return [self.part() for _ in range(int(self.part()))]

    def pairs(self) -> dict[bytes, bytes]:
        found = self.listed()
        return dict(zip(found[::2], found[1::2], strict=True))

    def _size(self) -> int:
        size, shift = 0, 0
        while True:
            if not self.more:
                raise ValueError
            byte = self._text[self._at]
            self._at += 1
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128:  # noqa: PLR2004 - the last byte of a length has no high bit
                return size


def _plain(value: bytes) -> bytes:
    try:
        return codec.text_of(value, LIMIT_BYTES)
    except Undecodable:
        return value


def packed_value(value: bytes) -> bytes:
    """Return a read model or document record as its key holds it."""
    return codec.pack(value) if value.startswith(b"{") else value


def _lengthy(part: bytes) -> bytes:
    size, head = len(part), bytearray()
    while size > 127:  # noqa: PLR2004 - seven bits of a length to a byte
        head.append(size & 127 | 128)
        size >>= 7
    head.append(size)
    return bytes(head) + part


def _listed(parts: Iterable[bytes]) -> Iterator[bytes]:
    found = tuple(parts)
    yield b"%d" % len(found)
    yield from found


def _number(found: float) -> bytes:
    return repr(found).encode()


def _time(text: bytes) -> float:
    found = float(text)
    if not math.isfinite(found):
        raise ValueError
    return found
