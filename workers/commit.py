"""What one commit writes, operation by operation: the language of ``release.lua`` and ``finish.lua``."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Self

from deedbox.shared.core.identity import is_file_safe
from deedbox.shared.core.request_snapshot import TERMS_MAX
from deedbox.shared.records import timeline_line
from deedbox.shared.records.clean_entry import CleanEntry
from deedbox.shared.redis import keys
from deedbox.shared.redis.scripting import Operand


class Commit:
    """Operations in the order in which the script carries them out."""

    def __init__(self) -> None:
        self._operands: list[Operand] = []

    def operands(self) -> list[Operand]:
        """Return the operations as the script reads them: flat."""
        return self._operands

    def _add(self, *operation: Operand) -> Self:
        self._operands += operation
        return self

    def append(self, later: Commit) -> Self:
        """Add the operations of another commit behind these."""
        return self._add(*later.operands())

    # Both scripts.

    def fact(self, fingerprint: str, *, arrived_at: float, fields: Sequence[Operand]) -> Self:
        """Add a new fact to the dedupe memory, and its stored event. ``fields``: name, value, and so on."""
        return self._add("F", fingerprint, arrived_at, len(fields), *fields)

    def timeline(self, *lines: Mapping[str, Any] | timeline_line.Row) -> Self:
        """Add lines to the stream's timeline."""
        elements = timeline_line.dump(lines)
        return self._add("T", len(elements), *elements)

    def count(self, name: str, by: int = 1) -> Self:
        """Add to a counter."""
        return self._add("C", name, by)

    def dead_letter(self, letter: Mapping[str, str | bytes]) -> Self:
        """File a dead letter."""
        values = [_encodable(value) for pair in letter.items() for value in pair]
        return self._add("D", len(values), *values)

    # release.lua

    def order(self, stream: str, state: bytes, wake_at: float | None) -> Self:
        """Begin the operations of a stream: its order state (empty: none), and when a hold ends (None: nothing is held)."""
        return self._add("S", stream, state, "" if wake_at is None else f"{wake_at:.6f}")

    def new_facts(self, facts: Sequence[Operand]) -> Self:
        """Add new facts that have nothing but facts and body. ``facts``: four operands of each, which the script names."""
        return self._add("N", len(facts) // 4, *facts)

    def releases(self, keep: int, entry: str, events: Sequence[Operand]) -> Self:
        """Hand events to the clean stream, and to all actions that want them. ``events``: fingerprint, type, clean entry of each.

        ``keep``: entries that the clean stream is cut to; 0: there is none. ``entry``: of their queues, behind the fingerprint.
        """
        return self._add("O", keep, entry, len(events) // 3, *events)

    def other_body(
        self, fingerprint: str, digest: str, *, arrived_at: float, fields: Sequence[Operand]
    ) -> Self:
        """Keep another body of a known fact, for an operator to compare or apply."""
        return self._add("B", f"{fingerprint}:{digest}", arrived_at, len(fields), *fields)

    def better_body(
        self, fingerprint: str, worse: str, *, arrived_at: float, event_type: str, again: str, fields: Sequence[Operand]
    ) -> Self:  # fmt: skip
        """Let a better body replace that of a known fact.

        ``worse``: digest of the body that it replaces, which is kept aside; empty: both are the same. ``again``: the queue
        entry with which the read model is told again; empty: the fact was not released yet.
        """
        return self._add("Y", fingerprint, worse, arrived_at, event_type, again, len(fields), *fields)

    def held(self, fingerprint: str, *, since: float) -> Self:
        """Mark an event as held."""
        return self._add("H", fingerprint, since)

    def not_held(self, fingerprint: str) -> Self:
        """End the mark of a held event."""
        return self._add("R", fingerprint)

    def valid_headers(self, source: str, count: int, *, at: float) -> Self:
        """Count new facts of a source whose ``Content-Sha256`` is valid."""
        return self._add("V", source, count, at)

    def look_for_gaps(self, *, after_s: float) -> Self:
        """Ask for a look for gaps in the stream."""
        return self._add("G", after_s)

    def move_entry(self, entry: bytes, shard: int) -> Self:
        """Move an entry of the inbox to its stream's shard. Comes before the first stream."""
        return self._add("I", shard, entry)

    def move_wake(self, stream: bytes, shard: int | None) -> Self:
        """Move a wake-up to its stream's shard; remove it if no stream has this name (None). Comes before the first stream."""
        return self._add("W", stream, "" if shard is None else shard)

    def quota(
        self, group: str, *, facts: int, size_bytes: int, beyond: int, life_s: float, letter: Mapping[str, str | bytes]
    ) -> Self:  # fmt: skip
        """Count what a group stored, and what came beyond, for which there is one ``letter``. Before the first stream."""
        values = [_encodable(value) for pair in letter.items() for value in pair]
        return self._add("Q", group, facts, size_bytes, beyond, life_s, len(values), *values)

    # finish.lua

    def clean_stream(
        self, keep: int, stream: str, fingerprint: str, event_type: str, event_time: int, signature: str | None, *,
        late: bool,
    ) -> Self:  # fmt: skip
        """Add an event to the clean stream, whose order is that of the releases: it refers to the stored event.

        ``keep``: entries that the stream is cut to; 0: there is none.
        """
        if not keep:
            return self
        entry = clean_entry(stream, fingerprint, event_type, event_time, signature, late=late)
        return self._add("X", keep, fingerprint, entry)

    def enqueue(self, fingerprint: str, event_type: str, entry: str) -> Self:
        """Hand an event to all actions that want it."""
        return self._add("A", fingerprint, event_type, entry)

    def outcome(self, unit: str, token: str, verb: str, *, wait_s: float = 0, entry: bytes = b"") -> Self:
        """Begin the section of a claimed entry. ``verb``: done, wait or back."""
        return self._add("U", unit, token, verb, wait_s, entry)

    def queue_entry(self, entry: str) -> Self:
        """Replace the text of the entry at the head of the queue."""
        return self._add("E", entry)

    def measure(self, outcome: str, bucket: int, took_s: float) -> Self:
        """Count one call: how it ended, and how long it took."""
        return self._add("M", outcome, bucket, round(took_s * 1_000_000))

    def model(self, unit: str, *, before: bytes, value: bytes, state: str, terms: Collection[str]) -> Self:
        """Change the read model of a unit's stream, if it is still ``before``. Comes after all sections, once for a unit.

        ``state``, ``terms``: by what the request is found.
        """
        return self._add("K", unit, before, value, keys.REQUESTS_KEEP, state, TERMS_MAX, len(terms), *terms)


def _encodable(value: str | bytes) -> bytes:
    """Replace half characters, which JSON can spell and an error may quote: no client can send them."""
    return value.encode("utf-8", "replace") if isinstance(value, str) else value


def clean_entry(
    stream: str, fingerprint: str, event_type: str, event_time: int, signature: str | None, *, late: bool
) -> bytes:
    """Return what the clean stream says of an event."""
    # A signature id is not signed: one that is not valid could be a text of any kind and length.
    known = signature if signature is not None and is_file_safe(signature) else ""
    return CleanEntry(0, stream, fingerprint, event_type, event_time, known, late).dump()
