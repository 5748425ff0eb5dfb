"""What Redis holds of one stream, wherever it lies: read only, for erasure and for pages."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from redis import Redis

from deedbox.shared.archives import reading as archives
from deedbox.shared.core.fields import count_of, counts_of
from deedbox.shared.records.replay_order import ReplayOrder
from deedbox.shared.records.tombstone import Tombstone
from deedbox.shared.redis import keys
from deedbox.shared.redis.connections import translating
from deedbox.shared.redis.inbox import callback_in, stream_of
from deedbox.shared.redis.scripting import text

T = TypeVar("T")

_UNIT_PARTS: Final = ("ready", "waiting", "parked", "leased")
"""Where the units of an action are that have entries."""

_GLOB: Final = re.compile(r"[*?\[\]\\]")
"""What has a meaning in a pattern of Redis."""

CHUNK: Final = 100
"""Letters, or replays, that are read in one round trip."""

PAGE: Final = 1000
"""Names of one reply: a stream may have as many events, and a key as many letters, as anybody sends."""

REPLAYS: Final = 1000
"""How many replays back interrupted ones are looked for."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One ordering key of one source."""

    source: str
    ordering_key: str

    @property
    def stream(self) -> str:
        """Source and ordering key in one text."""
        return f"{self.source}:{self.ordering_key}"

    @property
    def kind(self) -> str:
        """What it is: ``signature_request``, ``fax`` and so on."""
        return self.ordering_key.partition("/")[0]

    @property
    def request_id(self) -> str:
        """The id without its kind: the name of its folder in the document store."""
        return self.ordering_key.partition("/")[2]


class Holdings:
    """Looks things up. Every method raises Unavailable if Redis does not answer."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def facts(self, stream: str) -> list[str]:
        """Return the names of the stream's events: fingerprints, and those of other bodies."""
        found: list[str] = []
        while True:
            [members] = self._read([("zrange", keys.seen(stream), len(found), len(found) + PAGE - 1)])
            found += map(text, members)
            if len(members) < PAGE:
                return found

    def stored(self, names: Sequence[str]) -> int:
        """Count the events of these names that are still stored."""
        return sum(self._read([("exists", keys.event(name)) for name in names]))

    def state(self, stream: str) -> bool:
        """Return whether order state, dedupe memory, timeline, read model or document record is there."""
        kinds = (keys.order, keys.seen, keys.timeline, keys.request, keys.document, keys.data_key)
        [count] = self._read([("exists", *(key(stream) for key in kinds))])
        return bool(count)

    def document_record(self, stream: str) -> bytes | None:
        """Return the document record's text, also of an archived stream."""
        with translating():
            [[found]] = archives.values(self._redis, (stream,), "document")
        return found

    def erased_at(self, stream: str) -> float | None:
        """Return when the stream was erased (unix seconds); None if it was not, or longer ago than state is kept."""
        [mark] = self._read([("get", keys.erased(stream))])
        if not mark:
            return None
        tombstone = Tombstone.load(mark)
        return tombstone.at if tombstone else 0.0  # a tombstone that cannot be read is one all the same

    def fetching(self, stream: str) -> bool:
        """Return whether a document is being fetched, or was until a moment ago by a process that was killed."""
        [mark] = self._read([("get", keys.fetching(stream))])
        return bool(mark)

    def held(self, stream: str) -> bool:
        """Return whether an event of the stream waits for its turn."""
        scores = self._read([("zscore", keys.HELD, name) for name in self.facts(stream)])
        return any(score is not None for score in scores)

    def queued(self, stream: str) -> dict[str, int]:
        """Count the entries that wait or run, by action."""
        [rows] = self._read([("hgetall", keys.queued(stream))])
        return {action: count for action, count in counts_of(rows).items() if count > 0}

    def strays(self, stream: str) -> list[str]:
        """Return the fingerprints of the unordered calls that wait or run, which may be all that is known of their events.

        Each such call has its own unit, and may wait (for a pause to end) longer than the dedupe memory names its event.
        """
        queued = self.queued(stream)
        lengths = self._read([("llen", keys.queue(f"{action}|{stream}")) for action in queued])
        found: dict[str, None] = {}
        for (action, count), ordered in zip(queued.items(), lengths, strict=True):
            if count == ordered:
                continue
            prefix = f"{action}|{stream}|"
            for part in _UNIT_PARTS:
                units = self._scan("zscan", keys.action(action, part), _GLOB.sub(r"\\\g<0>", prefix) + "*")
                found |= dict.fromkeys(text(unit).removeprefix(prefix) for unit, _ in units)
        return list(found)

    def replays(self, subject: Subject) -> dict[int, bool]:
        """Find the interrupted replays that know the stream: number -> whether they are of this stream alone."""
        alone = {
            number: (order.source, order.key) == (subject.source, subject.ordering_key)
            for number, order in self.unfinished_replays().items()
        }
        found = {}
        for numbers in _pieces(list(alone)):
            begun = self._read([("hexists", keys.replay_done(number), subject.stream) for number in numbers])
            found.update(
                {
                    number: alone[number]
                    for number, has in zip(numbers, begun, strict=True)
                    if alone[number] or has
                }
            )
        return found

    def unfinished_replays(self) -> dict[int, ReplayOrder]:
        """Return the orders of the replays that were interrupted, newest first, by number."""
        [newest] = self._read([("get", keys.REPLAY_SEQ)])
        last = count_of(newest)
        found = {}
        for numbers in _pieces(range(last, max(0, last - REPLAYS), -1)):
            orders = self._read([("get", keys.replay(number)) for number in numbers])
            found.update(
                {
                    number: order
                    for number, packed in zip(numbers, orders, strict=True)
                    if packed is not None and (order := ReplayOrder.load(packed))
                }
            )
        return found

    def letters(self, subject: Subject) -> dict[str, str]:
        """Find the dead letters: id -> fingerprint of the event, which may be empty."""
        found: set[bytes] = set(self._scan("sscan", keys.letters(subject.ordering_key), None))
        ids = sorted(map(text, found))
        letters = {}
        for chunk in _pieces(ids):
            rows = self._read([("hmget", keys.dead(each), _FIELDS) for each in chunk])
            for letter, row in zip(chunk, rows, strict=True):
                if _is_about(subject, *row[:4]):
                    letters[letter] = text(row[4] or b"")
        return letters

    def _scan(self, command: str, key: str, match: str | None) -> Iterator[Any]:
        """Walk through a set or a sorted set, in pages."""
        cursor = 0
        while True:
            [(cursor, page)] = self._read([(command, key, cursor, match, PAGE)])
            yield from page
            if not cursor:
                return

    def _read(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Run commands, each a name of redis-py's and its arguments, in one round trip."""
        if not commands:
            return []
        pipe = self._redis.pipeline(transaction=False)
        for name, *arguments in commands:
            run: Callable[..., object] = getattr(pipe, name)
            run(*arguments)
        with translating():
            return pipe.execute()


def _pieces(found: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(found), CHUNK):
        yield found[start : start + CHUNK]


_FIELDS: Final = ("source", "key", "unit", "raw", "event")


def _is_about(
    subject: Subject, source: bytes | None, key: bytes | None, unit: bytes | None, raw: bytes | None
) -> bool:
    if raw is not None:
        return _message_is_about(subject, raw)
    if key is not None:
        return (source, key) == (subject.source.encode(), subject.ordering_key.encode())
    return unit is not None and unit.split(b"|")[1:2] == [subject.stream.encode()]


def _message_is_about(subject: Subject, raw: bytes) -> bool:
    """Look into a message that was set aside undecoded: at its key if it can be read, else into its text."""
    if stream := stream_of(raw):
        return stream == subject.stream
    return subject.request_id.encode() in callback_in(raw)
