"""Archives quiet streams. What one look reads is bounded; what is too large to be one value stays as it is.

A stream is archived if nothing is open about it: no callback held, no entry of a queue, no dead letter, no look for gaps, no
lease of its shard. ``archive.lua`` sees to that, and that nothing changed since it was read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import ResponseError

from deedbox.shared.archives.restoring import restore
from deedbox.shared.archives.stream_archive import VALUES, ArchivedEvent, StreamArchive
from deedbox.shared.core.errors import Unavailable
from deedbox.shared.core.identity import shard_of
from deedbox.shared.records import stored_event
from deedbox.shared.redis import keys, script_calls
from deedbox.shared.redis.connections import translating
from deedbox.shared.redis.scripting import Scripts, text
from deedbox.shared.runtime import logs

STREAMS_MAX: Final = 50
"""Streams of one look: about 0.1 s, in which the sweeper does nothing else. So one sweeper archives 1,000 events/s."""

NAMES_MAX: Final = 500
"""Names in a dedupe memory: a request has some tens, an account may have any number, and goes on anyway."""

BODIES_MAX_BYTES: Final = 1024 * 1024
"""Stored bodies of one stream."""

READ_MAX_BYTES: Final = 8 * 1024 * 1024
"""The same of one look."""

FOREVER: Final = -1

log = logs.get("archives")


@dataclass(slots=True)
class _Read:
    """One stream as it was read."""

    stream: str
    live: StreamArchive
    packed: bytes
    """Its archive, if it has one already."""
    whole: bool
    """False: a key of it has no end, because something is open, or it is too large."""


class Archivist:
    """Archives streams that were quiet for ``after_s``."""

    def __init__(self, scripts: Scripts, after_s: float) -> None:
        self._scripts = scripts
        self._redis = scripts.redis
        self._after_s = after_s

    def once(self) -> int:
        """Look at the streams that have been quiet for longest. Returns how many were looked at. Raises Unavailable."""
        now, due = script_calls.quiet(self._scripts, after_s=self._after_s, at_most=STREAMS_MAX)
        try:
            self._take(due, now)
        except Unavailable as error:
            if type(error.__cause__) is not ResponseError:
                raise
            # A key that another program wrote: it must not keep the other streams from being archived.
            for stream in due:
                self._take_alone(stream, now)
        return len(due)

    def _take(self, streams: Sequence[str], now: float) -> None:
        with translating():
            found = list(self._bodies(self._states(streams, now), now))
        for each in found:
            self._archive(each, now)

    def _take_alone(self, stream: str, now: float) -> None:
        try:
            self._take((stream,), now)
        except Unavailable as error:
            if type(error.__cause__) is not ResponseError:
                raise
            log.warning("archive.failed", stream=stream)
            self._postpone(stream, now)

    def _states(self, streams: Sequence[str], now: float) -> list[_Read]:
        """Read all of some streams but their events."""
        pipe = self._redis.pipeline(transaction=False)
        for stream in streams:
            pipe.zrange(keys.seen(stream), 0, NAMES_MAX, withscores=True)
            pipe.lrange(keys.timeline(stream), 0, -1)
            pipe.mget([keys.archive(stream), *(keys.value(kind, stream) for kind in VALUES)])
            pipe.hgetall(keys.finds(stream))
            for name in _lasting(stream):
                pipe.pttl(name)
        replies = iter(pipe.execute())
        return [self._state(stream, replies, now) for stream in streams]

    @staticmethod
    def _state(stream: str, replies: Iterator[Any], now: float) -> _Read:
        seen, timeline, (packed, *values), finds = (next(replies) for _ in range(4))
        lives = [next(replies) for _ in _lasting(stream)]
        whole = FOREVER not in lives and len(seen) <= NAMES_MAX
        known = {kind: each for kind, each in zip(VALUES, values, strict=True) if each is not None}
        ends_at = max((math.ceil(now + life / 1000) for life in lives if life > 0), default=0)
        live = StreamArchive(dict(seen), tuple(timeline), known, finds, {}, ends_at)
        return _Read(stream, live, packed or b"", whole)

    def _bodies(self, states: Sequence[_Read], now: float) -> Iterator[_Read]:
        """Read the events, as long as there is room; the other streams wait for the next look.

        Of a stream with an event that has no end, because something waits for it, no event is read: it may stay so for long.
        """
        pipe = self._redis.pipeline(transaction=False)
        for each in states:
            for name in each.live.seen:
                pipe.hstrlen(keys.event(text(name)), stored_event.BODY)
                pipe.pttl(keys.event(text(name)))
        replies = iter(pipe.execute())
        room = READ_MAX_BYTES
        for each in states:
            size, lives = 0, []
            for _ in each.live.seen:
                size += max(next(replies), stored_event.PIECES_BYTES)
                lives.append(next(replies))
            each.whole = each.whole and size <= BODIES_MAX_BYTES and FOREVER not in lives
            if each.whole and room > 0:
                room -= size
                self._with_events(each, lives, now)
                yield each
            elif not each.whole:
                yield each

    def _postpone(self, stream: str, now: float) -> None:
        with translating():
            self._redis.zadd(keys.QUIET, {stream: now}, xx=True)

    def _with_events(self, each: _Read, lives: Sequence[int], now: float) -> None:
        live = each.live
        pipe = self._redis.pipeline(transaction=False)
        for name in live.seen:
            pipe.hgetall(keys.event(text(name)))
        events = {}
        for name, fields, life in zip(live.seen, pipe.execute(), lives, strict=True):
            if fields:
                kept = {field: found for field, found in fields.items() if field != b"open"}
                events[name] = ArchivedEvent(kept, math.ceil(now + max(life, 0) / 1000))
        each.live = StreamArchive(live.seen, live.timeline, live.values, live.finds, events, live.ends_at)

    def _archive(self, read: _Read, now: float) -> None:
        live, stream = read.live, read.stream
        before = StreamArchive.load(read.packed) if read.packed else StreamArchive()
        if not before:
            restore(self._scripts, (stream,))
            return
        archive = before.without_expired(now).beneath(live, keys.TIMELINE_KEEP).plain()
        empty = archive.until() <= now
        packed = None if not read.whole else b"" if empty else archive.dump()
        if packed is None:
            self._postpone(stream, now)
            return
        bodies_end = max((each.ends_at for each in archive.events.values()), default=0.0)
        # Bodies may be kept for a shorter time than the rest: the look after that leaves them out.
        again = bodies_end - self._after_s if 0 < bodies_end < archive.ends_at - 1 else None
        script_calls.archive(
            self._scripts, stream=stream, shard=shard_of(stream), before=read.packed,
            lines=len(live.timeline), last_line=live.timeline[-1] if live.timeline else b"", names=len(live.seen),
            terms=len(live.finds), values=[live.values.get(kind, b"") for kind in VALUES], archive=packed, ends_at=archive.until(),
            quiet_since=again, events=list(live.events),
        )  # fmt: skip


def _lasting(stream: str) -> tuple[str, str]:
    """Return the keys whose lives an archive takes over: none of the others was written later than these."""
    return keys.seen(stream), keys.timeline(stream)
