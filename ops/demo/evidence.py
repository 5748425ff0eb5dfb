"""What a run left behind, read from the outside: the record of the calls, Redis, the document files.

No figure comes only from a counter of the code under test. An action writes the record. The commits of sequencer and
lanes write the timelines. The files are read from the disk and hashed again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, cast

from redis import Redis

from deedbox.shared.core.callback import parse_callback
from deedbox.shared.core.fields import counts_of
from deedbox.shared.core.identity import SHARDS, Fact, identify
from deedbox.shared.core.ordering import Position
from deedbox.shared.core.reasons import TimelineKind
from deedbox.shared.core.routing import DEFAULT_RANK, INTERNAL_PREFIX, RANKS
from deedbox.shared.records import timeline_line
from deedbox.shared.redis import keys
from deedbox.shared.redis.scripting import text
from deedbox.shared.simulator.lifecycle import SimulatedCallback, SimulatedFact

SOURCE: Final = "default"


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """One line of the record: one call of the recording action."""

    idempotency_key: str
    type: str
    time: int
    key: str
    signature_request_id: str
    related_signature_id: str
    late: bool
    body_signature: str
    sha256: str | None = None
    """Of the stored document, for ``deedbox.document_stored``."""

    @classmethod
    def parse(cls, line: str) -> Self:
        """Read a line. Raises ValueError, KeyError or TypeError for one that is no record."""
        row = json.loads(line)
        return cls(
            idempotency_key=row["idempotency_key"],
            type=row["type"],
            time=row["time"],
            key=f"{row['source']}:{row['key']}",
            signature_request_id=row["signature_request_id"] or "",
            related_signature_id=row["related_signature_id"] or "",
            late=row["late"],
            body_signature=row["body_signature"],
            sha256=row.get("sha256"),
        )

    @property
    def internal(self) -> bool:
        """Whether Deedbox itself emitted the event."""
        return self.type.startswith(INTERNAL_PREFIX)

    @property
    def fact(self) -> SimulatedFact:
        """What the sender would call the same fact; our own fingerprint could merge or part too much."""
        return SimulatedFact(self.type, self.time, self.signature_request_id, self.related_signature_id)

    @property
    def position(self) -> Position:
        """Place of the event in its stream."""
        fingerprint = self.idempotency_key.partition(":")[0]
        return Position(self.time, RANKS.get(self.type, DEFAULT_RANK), self.related_signature_id, fingerprint)


def read_record(path: Path) -> list[RecordedCall]:
    """Return the calls in the order in which they were made. Raises ValueError for a line that is no record."""
    if not path.exists():
        return []
    # The last line of a growing file may not be whole yet.
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [RecordedCall.parse(line) for line in lines if line.endswith("\n")]


def hash_documents(folder: Path) -> dict[str, list[str]]:
    """Return signature request id -> SHA-256 of every document below the store's folder of one source."""
    found: dict[str, list[str]] = {}
    for path in sorted(folder.glob("*/*.pdf")):
        found.setdefault(path.parent.name, []).append(hashlib.sha256(path.read_bytes()).hexdigest())
    return found


@dataclass(frozen=True, slots=True)
class Traces:
    """What Redis says about the streams of a run."""

    counters: Mapping[str, int]
    timeline: Mapping[str, int]
    """Kind of entry -> number of lines, over all streams."""
    actions_done: int
    """Lines of calls that were committed."""
    forgotten: int
    """Acknowledged facts without a stored event or outside the dedupe memory."""
    dead: tuple[Mapping[str, str], ...]


def identify_callback(callback: SimulatedCallback) -> Fact:
    """Return the identity that the pipeline gives to a callback of source ``default``."""
    return identify(SOURCE, parse_callback(callback.json_text))


def read_traces(redis: Redis, streams: Collection[str], acked: Iterable[Fact]) -> Traces:
    """Read what Redis holds. Raises RedisError."""
    timeline: dict[str, int] = {str(kind): 0 for kind in TimelineKind}
    done = 0
    for stream in streams:
        for row in lines_of(redis, stream):
            timeline[row["kind"]] = timeline.get(row["kind"], 0) + 1
            done += row["kind"] == TimelineKind.ACTION and row.get("outcome") == "done"
    counters = cast("dict[bytes, bytes]", redis.hgetall(keys.COUNTERS))
    return Traces(
        counters={text(name): int(count) for name, count in counters.items()},
        timeline=timeline,
        actions_done=done,
        forgotten=sum(not _remembered(redis, fact) for fact in acked),
        dead=tuple(_letters(redis)),
    )


def lines_of(redis: Redis, stream: str) -> list[timeline_line.Line]:
    """Return the lines of a stream's timeline. Raises RedisError."""
    found = cast("list[bytes]", redis.lrange(keys.timeline(stream), 0, -1))
    return [line for element in found for line in timeline_line.load(element) or ()]


def _remembered(redis: Redis, fact: Fact) -> bool:
    seen = redis.zscore(keys.seen(fact.stream), fact.fingerprint)
    return seen is not None and bool(redis.exists(keys.event(fact.fingerprint)))


def _letters(redis: Redis) -> Iterable[dict[str, str]]:
    for letter_id in cast("list[bytes]", redis.zrange(keys.DEAD, 0, -1)):
        fields = cast("dict[bytes, bytes]", redis.hgetall(keys.dead(text(letter_id))))
        shown = ("id", "reason", "detail", "action", "type", "event")
        yield {name: fields[name.encode()].decode() for name in shown if name.encode() in fields}


def waiting(redis: Redis) -> dict[str, int]:
    """Return stage -> what still waits in it, stages that are empty left out. Raises RedisError."""
    pipeline = redis.pipeline(transaction=False)
    stages = ["broker", "held", *("inbox" for _ in range(SHARDS))]
    pipeline.llen(keys.RAW_QUEUE)
    pipeline.zcard(keys.HELD)
    for shard in range(SHARDS):
        pipeline.llen(keys.inbox(shard))
    for bridge in cast("list[bytes]", redis.zrange(keys.BRIDGE_LEASES, 0, -1)):
        stages.append("claimed")
        pipeline.llen(keys.claimed(text(bridge)))
    pipeline.hgetall(keys.DEPTHS)
    *replies, depths = pipeline.execute()
    found = {f"action:{name}": depth for name, depth in counts_of(depths).items()}
    for stage, reply in zip(stages, replies, strict=True):
        found[stage] = found.get(stage, 0) + int(reply or 0)
    return {stage: count for stage, count in found.items() if count}
