"""Redis bytes per waiting callback, and per fact that is remembered after it was handled.

Waiting: memory in use and append-only file, before and after callbacks are queued; nothing consumes them meanwhile.
They are put in with each subject's own client library, as its web process does it. Deedbox has two places in which
they may wait: the broker, and the inbox to which the bridge moves them.

Remembered: everything is handled, the workers end, and then exactly the keys that remember are deleted; what Redis
has free afterwards is what they took. In Deedbox that is the dedupe memory (kept for the state retention, 14 days
or more), in RQ the job and its result (500 s, no dedupe). Celery and taskiq remember nothing.

Not measured: what else Deedbox keeps of an event for ``trace`` and replay (the workers' table has it, as "kept"),
fragmentation, replicas, other shapes of traffic than the simulator's.
"""

from __future__ import annotations

import time
from typing import Final

from redis import Redis

from deedbox.shared.redis import keys
from tests.bench import prefill, probe, subjects
from tests.bench.payloads import mean_bytes, whole_lives
from tests.bench.redis_server import Server
from tests.bench.room import SETTLE_S, Room, Sample
from tests.bench.workers import LIMIT_S, inbox_length

SECTION: Final = "memory"
REMEMBERED: Final = "memory, remembered"
BROKER: Final = "Deedbox, in the broker"
INBOX: Final = "Deedbox, in the inbox"
SUBJECTS: Final = (
    BROKER,
    INBOX,
    subjects.FLASK_RQ,
    subjects.FLASK_CELERY,
    subjects.FASTAPI_TASKIQ,
)

DEDUPE: Final = "Deedbox, dedupe memory"
RQ_RESULTS: Final = "RQ, jobs and results (500 s)"
REMEMBERING: Final = {
    DEDUPE: (subjects.DEEDBOX, (keys.seen("*"),)),
    RQ_RESULTS: (subjects.FLASK_RQ, ("rq:job:*", "rq:results:*")),
}
"""Row to its subject and to the keys that remember."""

SIGNERS: Final = 2
"""At most, per remembered signature request: about six facts each. The fewer, the dearer is each."""

RQ_EVENTS: Final = 300

AT: Final = 1_000
"""Place of the first callback that is used: those before it begin their lives and are shorter than the mean."""

FIRST: Final = 50
"""Callbacks before the measured ones: scripts, registries and buffers are not paid per callback."""


def measure(room: Room, name: str) -> list[Sample]:
    """Weigh callbacks that wait at one place."""
    count = room.scale.memory_callbacks
    texts = room.life_texts[AT : AT + FIRST + count]
    subject = subjects.DEEDBOX if name in {BROKER, INBOX} else name
    with room.redis() as redis:
        bridge = (subjects.deedbox_bridge(room.crew, redis),) if name == INBOX else ()
        try:

            def put(some: list[bytes], waiting: int) -> tuple[int, int]:
                prefill.publish(redis, subject, some)
                if bridge:
                    room.crew.wait_for(name, lambda: inbox_length(redis) == waiting, LIMIT_S)
                    time.sleep(SETTLE_S)
                return prefill.kept_bytes(redis.client), redis.number("persistence", "aof_current_size")

            memory_before, file_before = put(texts[:FIRST], FIRST)
            memory, file = put(texts[FIRST:], FIRST + count)
        finally:
            room.crew.stop(*bridge)
    values = {
        "memory_bytes": (memory - memory_before) / count,
        "aof_bytes": (file - file_before) / count,
        "body_bytes": mean_bytes(texts[FIRST:]),
        "callbacks": float(count),
    }
    return [Sample(SECTION, name, values)]


def measure_remembered(room: Room, name: str) -> list[Sample]:
    """Weigh what is left of handled events for the sake of remembering them."""
    subject, patterns = REMEMBERING[name]
    texts = whole_lives(room.scale.remembered_requests, SIGNERS)
    facts_per_request = len(texts) / room.scale.remembered_requests
    if subject == subjects.FLASK_RQ:
        texts = texts[:RQ_EVENTS]
    with room.redis() as redis:
        prefill.fill(redis, subject, tuple(texts))
        consumers = subjects.CONSUMERS[subject](room.crew, redis, probe.settings(room.marks))
        try:
            prefill.hand_over(redis, subject)
            room.crew.wait_for(name, lambda: len(texts) in probe.read(room.marks), LIMIT_S)
            time.sleep(SETTLE_S)
        finally:
            room.crew.stop(*consumers)
        time.sleep(SETTLE_S)
        taken = _weigh(redis, patterns)
    values = {
        "fact_bytes": taken / len(texts),
        "facts": float(len(texts)),
        "facts_per_request": facts_per_request,
    }
    return [Sample(REMEMBERED, name, values)]


def _weigh(redis: Server, patterns: tuple[str, ...]) -> int:
    """Delete the keys. Returns by how much the memory in use went down."""
    before = prefill.kept_bytes(redis.client)
    # A connection of its own: its buffers are gone with it.
    with Redis.from_url(redis.url) as eraser:
        for pattern in patterns:
            for key in eraser.scan_iter(pattern, count=1_000):
                eraser.delete(key)
    time.sleep(SETTLE_S)
    return before - prefill.kept_bytes(redis.client)
