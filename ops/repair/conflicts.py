"""Conflicts: another body of a fact that is known already. Kept aside, compared here, applied by an operator.

A fact is processed with the most trusted body, and of two of the same level with the one that came first. Then neither is
the true one by itself; what differs, and what the API says, tells a person which to believe.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, cast

from deedbox.ops.readmodels import timeline
from deedbox.shared import codec
from deedbox.shared.archives.restoring import restore
from deedbox.shared.broker.message import encode_kombu
from deedbox.shared.core.callback import parse_callback
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.errors import BadCallback, DeedboxError, KeyMissing, Undecodable
from deedbox.shared.core.identity import identify
from deedbox.shared.core.reasons import TimelineKind
from deedbox.shared.records.stored_event import StoredEvent
from deedbox.shared.redis import data_keys, keys, repair_calls
from deedbox.shared.redis.connections import translating
from deedbox.shared.redis.scripting import Scripts
from deedbox.shared.sealing.envelopes import sealed

PATHS_MAX: Final = 20
"""Differences that are named: a person looks at the bodies after that."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """One other body of a fact."""

    other: StoredEvent
    first: StoredEvent | None
    """The fact as it was processed; None if it has expired."""
    applied: bool
    """An operator has made it a separate fact already."""

    @property
    def body_digest(self) -> str:
        """What names the body in ``trace`` and in commands."""
        return self.other.fingerprint.partition(":")[2]

    def differences(self) -> list[str]:
        """Name the fields in which the two bodies differ, never their values, which may name people."""
        if self.first is None:
            return []
        first, other = self.first.payload(), self.other.payload()
        return list(islice(_differences(first or None, other or None), PATHS_MAX))

    def envelope(self) -> Envelope:
        """Return the callback as a separate fact: the same mark each time, so that applying it twice is one fact."""
        return Envelope(
            source=self.other.source,
            received_at=self.other.received_at,
            body_signature=self.other.body_signature,
            trace_id=self.other.trace_id,
            body=self.other.body,
            codec=self.other.codec,
            key=self.other.ordering_key,
            redrive=f"conflict-{self.body_digest}",
        )


class Conflicts:
    """The conflicts of signature requests. Every method raises Unavailable if Redis does not answer."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._redis = scripts.redis

    @translating()
    def of(self, source: str, ordering_key: str) -> list[Conflict]:
        """Return the conflicts of a key, oldest first. Those that have expired are left out.

        Raises DeedboxError for a key that was erased.
        """
        if self._redis.exists(keys.erased(f"{source}:{ordering_key}")):
            raise _erased(ordering_key)
        restore(self._scripts, (f"{source}:{ordering_key}",))
        found = timeline.read(self._redis, source, ordering_key)
        lines = [] if found is None else found.entries
        named = dict.fromkeys(
            (line["event"], line["body"])
            for line in lines
            if line["kind"] == TimelineKind.CONFLICT and "event" in line and "body" in line
        )
        conflicts = (self._read(event, body) for event, body in named)
        return [conflict for conflict in conflicts if conflict is not None]

    def apply(self, conflict: Conflict) -> None:
        """Hand the other body to the bridge as a separate fact. Raises DeedboxError for a key that was erased."""
        envelope = sealed(conflict.envelope())
        message = encode_kombu(envelope.headers(), envelope.body)
        if repair_calls.redrive_raw(self._scripts, message=message, stream=conflict.other.stream) != 1:
            raise _erased(conflict.other.ordering_key)

    def _read(self, event: str, body: str) -> Conflict | None:
        other = self._stored(f"{event}:{body}")
        if other is None:
            return None
        return Conflict(other, self._stored(event), self._applied(Conflict(other, None, applied=False)))

    def _stored(self, name: str) -> StoredEvent | None:
        stored = StoredEvent.load(name, cast("dict[bytes, bytes]", self._redis.hgetall(keys.event(name))))
        if not stored:
            return None
        try:
            return data_keys.opened(self._redis, stored)[0]
        except KeyMissing:
            raise
        except Undecodable:
            return stored  # it is shown as far as it can be read

    def _applied(self, conflict: Conflict) -> bool:
        envelope = conflict.envelope()
        try:
            fact = identify(envelope.source, parse_callback(codec.body_of(envelope)), envelope.redrive)
        except (BadCallback, Undecodable):
            return False
        return self._redis.zscore(keys.seen(fact.stream), fact.fingerprint) is not None


def _erased(ordering_key: str) -> DeedboxError:
    return DeedboxError(f"{ordering_key} was erased; nothing of it is kept, and nothing is processed.")


def chosen(conflicts: list[Conflict], prefix: str) -> Conflict:
    """Return the conflict that a body's digest, or the beginning of it, names. Raises DeedboxError."""
    fitting = [conflict for conflict in conflicts if prefix and conflict.body_digest.startswith(prefix)]
    if len(fitting) == 1:
        return fitting[0]
    many = "Several bodies begin" if fitting else "No other body begins"
    raise DeedboxError(f"{many} with {prefix}; `deedbox conflict list` shows them.")


def _differences(one: Any, other: Any, path: str = "") -> Iterator[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        for name in dict.fromkeys((*one, *other)):
            yield from _differences(one.get(name), other.get(name), f"{path}.{name}" if path else name)
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from _differences(left, right, f"{path}[{index}]")
    elif json.dumps(one, sort_keys=True) != json.dumps(other, sort_keys=True):
        yield path or "the whole body"
