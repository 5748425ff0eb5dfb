"""Redis bytes per waiting callback: memory in use and append-only file, before and after callbacks are queued.

Nothing consumes meanwhile. Callbacks are put in with each subject's own client library, as its web process does it.

Not measured: what is kept after an event was handled (the table of the workers has it), fragmentation, replicas.
"""

from __future__ import annotations

from typing import Final

from tests.bench import prefill
from tests.bench.payloads import mean_bytes
from tests.bench.room import Room, Sample

SECTION: Final = "memory"
AT: Final = 1_000
"""Place of the first callback that is used: those before it begin their lives and are shorter than the mean."""

FIRST: Final = 50
"""Callbacks before the measured ones: scripts, registries and buffers are not paid per callback."""


def measure(room: Room, subject: str) -> list[Sample]:
    """Measure one subject once."""
    count = room.scale.memory_callbacks
    texts = room.life_texts[AT : AT + FIRST + count]
    with room.redis() as redis:
        prefill.publish(redis, subject, texts[:FIRST])
        memory, file = prefill.kept_bytes(redis.client), redis.number("persistence", "aof_current_size")
        prefill.publish(redis, subject, texts[FIRST:])
        memory = prefill.kept_bytes(redis.client) - memory
        file = redis.number("persistence", "aof_current_size") - file
    values = {
        "memory_bytes": memory / count,
        "aof_bytes": file / count,
        "body_bytes": mean_bytes(texts[FIRST:]),
        "callbacks": float(count),
    }
    return [Sample(SECTION, subject, values)]
