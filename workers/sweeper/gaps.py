"""The gap detector: looks at requests of which something may be missing, and hands them to the action ``reconcile``.

The sequencer notes when to look (``gaps:due``). By then the callbacks themselves have usually made up for it, and
the look costs one round trip for a hundred requests, and no call of the API.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from deedbox.shared.core.gaps import SUSPECTED, Findings, Gap, Known, suspected
from deedbox.shared.core.identity import is_file_safe
from deedbox.shared.core.request_snapshot import flag_of
from deedbox.shared.records.stored_event import StoredEvent
from deedbox.shared.redis import keys, script_calls
from deedbox.shared.redis.connections import translating
from deedbox.shared.redis.script_calls import LookEnd
from deedbox.shared.redis.scripting import Scripts
from deedbox.shared.retention import Retention
from deedbox.shared.runtime import logs
from deedbox.workers.actions.registry import RegisteredAction
from deedbox.workers.builtins.known_requests import KIND, known
from deedbox.workers.builtins.reconcile import registered
from deedbox.workers.internal_events import filed_event, internal_event

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
    """Tells this check from an earlier one with the same findings."""


class GapDesk:
    """Reads what is known of requests and files what looks missing."""

    def __init__(
        self,
        scripts: Scripts,
        ring: Callable[[str], None],
        retention: Retention = Retention(),  # noqa: B008 - frozen
        *,
        fetches: bool,
        synthesises: bool = False,
    ) -> None:
        self._retention = retention
        self.redis = scripts.redis
        self.fetches = fetches
        self.synthesises = synthesises
        self._scripts = scripts
        self._ring = ring

    def due(self) -> tuple[float, dict[str, float], dict[str, float]]:
        """Return Redis's time, the streams whose look is due, and those to be confirmed. Raises Unavailable."""
        return script_calls.gaps_due(self._scripts, at_most=LOOK_AT_MOST)

    def file(self, looks: Sequence[GapLook], now: float) -> int:
        """End looks: each leaves the index; those with findings become events. Returns how many. Raises Unavailable."""
        if not looks:
            return 0
        action = registered(lambda _event, _context: None)
        filed, ring = script_calls.suspect(
            self._scripts, retention=self._retention, lane=action.lane, looks=[_end(look, action, now) for look in looks]
        )  # fmt: skip
        if ring:
            self._ring(action.lane)
        return filed

    def forget_asked(self, streams: Sequence[str]) -> None:
        """Take streams off the list of those to be confirmed. Raises Unavailable."""
        with translating():
            self.redis.zrem(keys.CONFIRM_DUE, *streams)

    def known(self, streams: Sequence[str]) -> dict[str, Known]:
        """Read what is known of requests, in one round trip. Raises Unavailable."""
        with translating():
            return known(self.redis, streams, fetches=self.fetches, synthesises=self.synthesises)


class GapDetector:
    """The sweeper's part. Any number may run: a look is ended by one of them only."""

    def __init__(self, desk: GapDesk) -> None:
        self._desk = desk

    def once(self) -> None:
        """Look at what is due. Raises Unavailable."""
        now, due, asked = self._desk.due()
        if due:
            self._look(due, now)
        if asked:
            self._confirm(asked, now)

    def _look(self, due: Mapping[str, float], now: float) -> None:
        found = self._desk.known(list(due))
        looks = [
            GapLook(stream, score, _worth(stream, here), _test_mode(here), {"due": score})
            for stream, score in due.items()
            for here in (found.get(stream, Known()),)  # an erased one has no gap
        ]
        if filed := self._desk.file(looks, now):
            log.warning("gaps.suspected", requests=filed)

    def _confirm(self, asked: Mapping[str, float], now: float) -> None:
        """Have requests read from the API that applications ask about, if callbacks only claim how they are."""
        found = self._desk.known(list(asked))
        looks = [
            GapLook(stream, None, _CONFIRM, _test_mode(here), {"asked": asked[stream]})
            for stream, here in found.items()
            if Gap.UNCONFIRMED in _worth(stream, here).gaps
        ]
        self._desk.file(looks, now)
        # Last: after a crash in between, the same looks meet their own fingerprints.
        self._desk.forget_asked(list(asked))


_CONFIRM: Final = Findings((Gap.UNCONFIRMED,))


def operators_mark() -> dict[str, str]:
    """Return what tells the looks of one run of a command from those of another."""
    return {"run": uuid.uuid4().hex}


def _worth(stream: str, what: Known) -> Findings:
    """Suspect only what can be asked for: an id that is none would end as a dead letter."""
    kind, _, identifier = stream.partition(":")[2].partition("/")
    return suspected(what) if kind == KIND and is_file_safe(identifier) else Findings()


def _test_mode(what: Known) -> bool:
    return bool(flag_of(what.model.get("test_mode")))


def _end(look: GapLook, action: RegisteredAction, now: float) -> LookEnd:
    filed = filed_event(action, _event(look, now), now) if look.findings else None
    return LookEnd(look.stream, look.due, filed)


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
