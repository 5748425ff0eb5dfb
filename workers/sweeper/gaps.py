"""The gap detector: looks at requests of which something may be missing, and hands them to the action ``reconcile``.

The sequencer notes when to look (``gaps:due``). By then the callbacks themselves have usually made up for it, and
the look costs one round trip for a hundred requests, and no call of the API.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from redis.exceptions import RedisError

from deedbox.shared.core.attempts import QueueEntry
from deedbox.shared.core.gaps import SUSPECTED, Findings, Known, suspected
from deedbox.shared.core.identity import is_file_safe
from deedbox.shared.records import queue_entry
from deedbox.shared.records.stored_event import StoredEvent
from deedbox.shared.redis.connections import translated
from deedbox.shared.redis.scripting import SERVER_CLOCK, Operand, Scripts, text
from deedbox.shared.retention import Retention
from deedbox.shared.runtime import logs
from deedbox.workers.builtins.known_requests import KIND, known
from deedbox.workers.builtins.reconcile import registered
from deedbox.workers.internal_events import internal_event

LOOK_AT_MOST: Final = 100
"""Requests of one look: a backlog is worked off at the sweeper's pace, in small scripts."""

log = logs.get("gaps")


@dataclass(frozen=True, slots=True)
class GapLook:
    """The end of one look at one request."""

    stream: str
    due: float | None
    """Its score in ``gaps:due``; None if an operator asked."""
    findings: Findings
    test_mode: bool = False
    asked_by: Mapping[str, Any] = field(default_factory=dict)
    """What makes this look another than an earlier one with the same findings."""


class GapDesk:
    """Reads what is known of requests and files what looks missing."""

    def __init__(
        self,
        scripts: Scripts,
        ring: Callable[[str], None],
        retention: Retention = Retention(),  # noqa: B008 - frozen
        *,
        fetches: bool,
    ) -> None:
        self._retention = retention
        self.redis = scripts.redis
        self.fetches = fetches
        self._scripts = scripts
        self._ring = ring

    def due(self) -> tuple[float, dict[str, float]]:
        """Return Redis's time and the streams whose look is due, with their scores. Raises Unavailable."""
        now, *rows = self._scripts.call("gaps_due", SERVER_CLOCK, LOOK_AT_MOST)
        return float(now), {text(s): float(score) for s, score in zip(rows[::2], rows[1::2], strict=True)}

    def file(self, looks: Sequence[GapLook], now: float) -> int:
        """End looks: each leaves the index; those with findings become events. Returns how many. Raises Unavailable."""
        if not looks:
            return 0
        action = registered(lambda _event, _context: None)
        head = (SERVER_CLOCK, self._retention.state_s, self._retention.events_s, action.lane)
        operands: list[Operand] = []
        for look in looks:
            operands += [look.stream, "" if look.due is None else repr(look.due)]
            if not look.findings:
                operands.append(0)
                continue
            stored = _event(look, now)
            fields = stored.fields()
            entry = queue_entry.dump(QueueEntry(stored.fingerprint, enqueued_at=round(now, 6)))
            unit = action.unit(look.stream, stored.fingerprint)
            operands += [len(fields), unit, entry, stored.fingerprint, *fields]
        filed, ring = self._scripts.call("suspect", *head, *operands)
        if ring:
            self._ring(action.lane)
        return int(filed)

    def known(self, streams: Sequence[str]) -> dict[str, Known]:
        """Read what is known of requests, in one round trip. Raises Unavailable."""
        try:
            return known(self.redis, streams, fetches=self.fetches)
        except RedisError as error:
            raise translated(error) from error


class GapDetector:
    """The sweeper's part. Any number may run: a look is ended by one of them only."""

    def __init__(self, desk: GapDesk) -> None:
        self._desk = desk

    def once(self) -> None:
        """Look at what is due. Raises Unavailable."""
        now, due = self._desk.due()
        if not due:
            return
        found = self._desk.known(list(due))
        looks = [
            GapLook(stream, score, _worth(stream, here), _test_mode(here), {"due": score})
            for stream, score in due.items()
            for here in (found.get(stream, Known()),)  # an erased one has no gap
        ]
        if filed := self._desk.file(looks, now):
            log.warning("gaps.suspected", requests=filed)


def operators_mark() -> dict[str, str]:
    """Return what tells the looks of one run of a command from those of another."""
    return {"run": uuid.uuid4().hex}


def _worth(stream: str, what: Known) -> Findings:
    """Suspect only what can be asked for: an id that is none would end as a dead letter."""
    kind, _, identifier = stream.partition(":")[2].partition("/")
    return suspected(what) if kind == KIND and is_file_safe(identifier) else Findings()


def _test_mode(what: Known) -> bool:
    return what.model.get("test_mode") in (True, 1, "1")


def _event(look: GapLook, now: float) -> StoredEvent:
    source, _, ordering_key = look.stream.partition(":")
    request_id = ordering_key.partition("/")[2]
    payload = {
        **look.findings.dump(),
        **look.asked_by,
        # In a callback's place, so that actions find id and mode where they always are.
        "signature_request": {"signature_request_id": request_id, "test_mode": look.test_mode},
    }
    # One trace id for everything that one run of the command asked for.
    return internal_event(SUSPECTED, payload, source, ordering_key, str(look.asked_by.get("run", "")), now)
