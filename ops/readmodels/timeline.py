"""One ordering key's timeline: arrivals, holds, releases, actions, documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from redis import Redis

from deedbox.shared import pauses, sealing
from deedbox.shared.archives import reading as archives
from deedbox.shared.pauses import Pause
from deedbox.shared.records import read_model, timeline_line
from deedbox.shared.redis import data_keys, keys
from deedbox.shared.redis.connections import translating
from deedbox.shared.redis.data_keys import Keys

KINDS: Final = ("signature_request", "template", "account", "fax", "type")
"""Kinds of ordering keys, the one that a bare id means first."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """What happened to one ordering key of one source."""

    source: str
    ordering_key: str
    entries: list[dict[str, Any]]
    """By ``at`` (unix seconds); each has a ``kind``. Entries of the same moment keep the order of their commit."""
    model: dict[str, Any] = field(default_factory=dict)
    """The state of the signature request now; empty if it is not tracked."""
    pauses: tuple[Pause, ...] = ()
    """Its own pause, and that of its source."""
    now: float = 0.0
    """Unix seconds, Redis's clock."""

    def document(self) -> dict[str, Any]:
        """Return JSON values, a contract with other programs: ``deedbox trace --json`` prints them."""
        found = {"source": self.source, "ordering_key": self.ordering_key, "entries": self.entries}
        return found | ({"pauses": [each.document() for each in self.pauses]} if self.pauses else {})


def key_of(identifier: str) -> str:
    """Return the ordering key that a person means: a bare id is a signature request's; no id is no key."""
    return identifier if "/" in identifier or not identifier else f"{KINDS[0]}/{identifier}"


@translating()
def read(redis: Redis, source: str, ordering_key: str) -> Timeline | None:
    """Read a timeline; None if there is none. Raises Unavailable."""
    stream = f"{source}:{ordering_key}"

    def ask() -> list[Any]:
        pipe = redis.pipeline(transaction=False)
        pipe.lrange(keys.timeline(stream), 0, -1)
        pipe.get(keys.request(stream))
        pipe.hgetall(keys.PAUSED)
        pipe.time()
        return list(pipe.execute())

    (lines, model, paused, (now, _)), archive = archives.beside(redis, stream, ask)
    lines, model = [*archive.timeline, *lines], model or archive.values.get("request")
    found = (
        data_keys.find(redis, (stream,)) if sealing.ring() or data_keys.is_sealed(model) else data_keys.NONE
    )
    read_lines = [line for element in lines for line in timeline_line.load(element) or ()][
        -keys.TIMELINE_KEEP :
    ]
    entries = sorted(
        (_readable(stream, line, found) for line in _with_types(read_lines)),
        key=lambda entry: float(entry["at"]),
    )
    if not entries:
        return None
    return Timeline(
        source, ordering_key, entries, _model(stream, model, found),
        pauses.about(pauses.of_reply(paused), source, ordering_key), float(now),
    )  # fmt: skip


def reasons(redis: Redis, stream: str, action: str, most: int) -> list[str]:
    """Return what the latest calls of an action met, the newest first, each reason once. Raises Unavailable."""
    source, _, key = stream.partition(":")
    found = read(redis, source, key)
    entries = reversed(found.entries if found else ())
    met = (str(each.get("detail", "")) for each in entries if each.get("action") == action)
    return list(islice(dict.fromkeys(filter(None, met)), most))


def _model(stream: str, model: Any, found: Keys) -> dict[str, Any]:
    return (read_model.load(found.readable(stream, model)) or {}) if model else {}


def _with_types(lines: list[timeline_line.Line]) -> list[timeline_line.Line]:
    """Add the event's type to lines that a script wrote, as another line of the event has it."""
    types = {
        line["event"]: line["type"] for line in lines if "type" in line and isinstance(line.get("event"), str)
    }
    return [
        {"type": types[line["event"]], **line}
        if isinstance(line.get("event"), str) and line["event"] in types else line
        for line in lines
    ]  # fmt: skip


def _readable(stream: str, line: timeline_line.Line, found: Keys) -> timeline_line.Line:
    """Open what an action wrote; without its key the line says so."""
    detail = line.get("detail")
    return {**line, "detail": found.readable_text(stream, detail)} if isinstance(detail, str) else line


@translating()
def elsewhere(redis: Redis, sources: Sequence[str], identifier: str) -> list[tuple[str, str]]:
    """Find where else an id has a timeline: (source, ordering key) of every hit. Raises Unavailable."""
    bare = identifier.rpartition("/")[2]
    places = [(source, f"{kind}/{bare}") for source in sources for kind in KINDS]
    there = archives.exist(redis, [f"{source}:{ordering_key}" for source, ordering_key in places])
    return [place for place, exists in zip(places, there, strict=True) if exists]
