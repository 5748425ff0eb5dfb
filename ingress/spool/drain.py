"""Drains segments back into the broker, oldest first.

A batch is published, then remembered as done, then the next: a crash in between repeats it, and repeats are
absorbed downstream. A callback that the broker refuses for cause is set aside, so that it never wedges the rest.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final, Protocol

from deedbox.ingress.spool.folder import SpoolDir
from deedbox.ingress.spool.frames import Damage, Frame
from deedbox.ingress.spool.quarantine import Aside, set_aside
from deedbox.ingress.spool.reader import Leftover
from deedbox.shared.broker.errors import RefusedForCause
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.errors import Unavailable, Undecodable
from deedbox.shared.core.reasons import DeathReason
from deedbox.shared.runtime import logs

BATCH: Final = 500
BATCH_BYTES: Final = 4 * 1024 * 1024
"""One batch must fit into the broker's second; a larger callback is a batch of its own."""

STRIKES: Final = 3
"""So often a callback may fail where another one passes, until it is taken for the cause."""

_log = logs.get("spool")


class Sink(Protocol):
    """What draining needs of a publisher."""

    def publish(self, envelope: Envelope) -> None:
        """Return once the broker has the envelope. Raises Unavailable or RefusedForCause."""

    def publish_many(self, envelopes: Sequence[Envelope]) -> None:
        """Return once the broker has all of them. Raises Unavailable; some may have arrived."""


@dataclass(slots=True)
class Drained:
    """What one drain did."""

    published: int = 0
    set_aside: int = 0
    segments: int = 0
    """Drained to their end and removed."""
    trouble: str | None = None
    """What the broker said when it did not take callbacks any more. None: done, or out of time."""
    unreadable: str | None = None
    """What the disk said, where a segment or the folder could not be read or written."""


@dataclass(frozen=True, slots=True)
class _Spooled:
    """A callback that can be published."""

    item: Frame
    envelope: Envelope


@dataclass(frozen=True, slots=True)
class _Bad:
    """Something that cannot."""

    item: Frame | Damage
    aside: Aside


class _Stuck(Exception):
    """The next callback could not be published; ``suspect`` names it."""

    def __init__(self, suspect: tuple[str, int], text: str) -> None:
        super().__init__(text)
        self.suspect = suspect


class Drainer:
    """Drains a host's segments; several processes may do so at once. One drainer is for one thread."""

    def __init__(
        self,
        folder: SpoolDir,
        sink: Sink,
        monotonic: Callable[[], float] = time.monotonic,
        batch: int = BATCH,
        paused: Callable[[], bool] = lambda: False,
    ) -> None:
        """``paused``: asked before each batch; as long as it says so, nothing is published."""
        self._paused = paused
        self._folder = folder
        self._sink = sink
        self._monotonic = monotonic
        self._batch = batch
        self._strikes: Counter[tuple[str, int]] = Counter()

    def drain(self, until: float = float("inf"), *, probe: bool = False) -> Drained:
        """Drain every segment that nobody is using, until all are empty, the broker fails, or ``until``.

        ``until``: monotonic seconds. ``probe``: begin with one callback, because the broker may still be down.
        Never raises for a broken broker or disk; the outcome says it.
        """
        found = Drained()
        stuck: _Stuck | None = None
        for path in self._segments(found):
            if self._monotonic() >= until or self._paused():
                break
            before = found.published
            try:
                self._segment(path, found, until, probe=probe or stuck is not None)
            except _Stuck as error:
                # One callback alone proves nothing: it may be the trouble, or the broker. The next segment tells.
                found.trouble = str(error)
                if stuck is not None:
                    return found
                stuck = error
                continue
            except OSError as error:
                found.unreadable = error.strerror or type(error).__name__
                _log.error("spool.unreadable", segment=path.name, errno=error.errno)
            if found.published > before:
                probe = False
                if stuck is not None:
                    self._strikes[stuck.suspect] += 1
                    stuck, found.trouble = None, None
        return found

    def _segments(self, found: Drained) -> list[Path]:
        try:
            return self._folder.segments()
        except OSError as error:
            found.unreadable = error.strerror or type(error).__name__
            return []

    def _segment(self, path: Path, found: Drained, until: float, *, probe: bool) -> None:
        leftover = Leftover.claim(path)
        if leftover is None:
            return
        try:
            for step in self._steps(leftover, probe=probe):
                if isinstance(step, _Bad):
                    self._set_aside(leftover, step.item, step.aside, found)
                else:
                    self._publish(leftover, step, found)
                over = self._monotonic() >= until or self._paused()
                if over and leftover.done < leftover.size_bytes:
                    return
            leftover.remove()
            found.segments += 1
        finally:
            leftover.release()

    def _steps(self, leftover: Leftover, *, probe: bool) -> Iterator[list[_Spooled] | _Bad]:
        """Yield what to publish together, and in between what cannot be published, in the segment's order."""
        batch: list[_Spooled] = []
        size = 0
        limit = 1 if probe else self._batch
        for item in _decoded(leftover):
            length = item.item.end - item.item.start
            if batch and (isinstance(item, _Bad) or len(batch) >= limit or size + length > BATCH_BYTES):
                yield batch
                batch, size, limit = [], 0, self._batch
            if isinstance(item, _Bad):
                yield item
            else:
                batch.append(item)
                size += length
        if batch:
            yield batch

    def _publish(self, leftover: Leftover, batch: list[_Spooled], found: Drained) -> None:
        """Publish a batch and remember it; if it fails, one by one. Raises _Stuck."""
        try:
            self._sink.publish_many([each.envelope for each in batch])
        except Unavailable:
            for index, each in enumerate(batch):
                self._alone(leftover, each, batch[index + 1 :], found)
        else:
            found.published += len(batch)
            leftover.handed_on(batch[-1].item.end)

    def _alone(self, leftover: Leftover, mine: _Spooled, others: Sequence[_Spooled], found: Drained) -> None:
        """Publish one callback, or set it aside if it is the trouble. Raises _Stuck if that cannot be told."""
        suspect = (leftover.path.stem, mine.item.start)
        detail = ""
        while not detail:
            try:
                self._sink.publish(mine.envelope)
            except RefusedForCause as error:
                detail = str(error)
            except Unavailable as error:
                if self._strikes[suspect] >= STRIKES:
                    detail = f"{error}, and took others in between"
                elif self._takes_another(leftover, mine, others):
                    self._strikes[suspect] += 1
                else:
                    raise _Stuck(suspect, str(error)) from None
            else:
                found.published += 1
                leftover.handed_on(mine.item.end)
                return
        aside = Aside(DeathReason.BROKER_REFUSED, detail, mine.item.payload, mine.item.received_at)
        self._set_aside(leftover, mine.item, aside, found)

    def _takes_another(self, leftover: Leftover, mine: _Spooled, others: Sequence[_Spooled]) -> bool:
        behind = (item for item in _decoded(leftover) if item.item.start >= mine.item.end)
        other = next((item for item in chain(others, behind) if isinstance(item, _Spooled)), None)
        if other is None:
            return False
        try:
            self._sink.publish(other.envelope)
        except Unavailable:
            return False
        return True

    def _set_aside(self, leftover: Leftover, item: Frame | Damage, aside: Aside, found: Drained) -> None:
        set_aside(self._folder, leftover.path, item.start, aside)
        leftover.handed_on(item.end)
        found.set_aside += 1
        _log.error(
            "spool.set_aside", reason=str(aside.reason), segment=leftover.path.name, offset=item.start,
            bytes=item.end - item.start,
        )  # fmt: skip


def _decoded(leftover: Leftover) -> Iterator[_Spooled | _Bad]:
    for item in leftover.items():
        if isinstance(item, Damage):
            size = item.end - item.start
            detail = f"{size} bytes of {leftover.path.name} from offset {item.start} on are not readable"
            yield _Bad(item, Aside(DeathReason.SPOOL_DAMAGED, detail, leftover.bytes_of(item)))
            continue
        try:
            yield _Spooled(item, Envelope.unpack(item.payload))
        except Undecodable as error:
            yield _Bad(item, Aside(DeathReason.UNDECODABLE, str(error), item.payload, item.received_at))
