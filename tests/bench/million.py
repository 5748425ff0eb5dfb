"""A Redis with a million kept events: some hundred real requests, worked off by the real stages, then copied in the server.

A copy is what the stages stored, under another id: same keys, same bytes, same lives. Copies are spread over the past, each a
little older than the one before it. Bodies are copied as they are; nothing measured here reads them.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from redis import Redis

from deedbox.shared.redis import keys, script_calls
from deedbox.shared.redis.request_keys import Holdings
from deedbox.shared.redis.scripting import Scripts, text
from deedbox.shared.runtime import logs, telemetry
from deedbox.shared.settings import Settings
from deedbox.workers.process import Process
from tests.bench import prefill, probe, subjects
from tests.bench.inprocess import worked
from tests.bench.payloads import whole_lives
from tests.bench.processes import BenchError
from tests.bench.redis_server import Server
from tests.support.brokers import Claims, broker_at

MODELS: Final = 100
"""Requests that are copied."""

SIGNERS: Final = 3
PAST_S: Final = 10 * 86_400
"""Over which the copies are spread: less than the state retention."""

LETTERS_AT_ONCE: Final = 200


def settings_of(redis: Server, **more: str) -> Settings:
    """Return the settings of a Deedbox on this Redis."""
    environ = subjects.deedbox_environment(redis) | {
        "DEEDBOX_BUILTINS": "track_status",
        "DEEDBOX_LOG_HOPS": "off",
    }
    return Settings.load(environ | more)


def fill(redis: Server, events: int) -> int:
    """Keep so many events, about. Returns how many there are."""
    os.environ |= probe.settings(redis.directory / "marks")
    _play(redis, whole_lives(MODELS, SIGNERS))
    models = list(_models(redis.client))
    each = sum(int(model[2]) for model in models)
    script: Any = redis.client.register_script((Path(__file__).parent / "million.lua").read_text("utf-8"))
    flat: list[Any] = [operand for model in models for operand in (*model[:3], *model[3])]
    found, copies = each, max(1, events // each)
    for copy in range(copies):
        found += script(
            args=[
                keys.PREFIX,
                copy,
                copy,
                PAST_S / copies,
                keys.REQUESTS_KEEP,
                settings_of(redis).events_keep,
                *flat,
            ]
        )
    return found


def _play(redis: Server, texts: list[bytes]) -> None:
    publisher = broker_at(redis.url, limit=1)
    publisher.publish_many(
        [prefill.accepted(each).envelope(time.time(), f"{number:032x}") for number, each in enumerate(texts)]
    )
    publisher.close()
    settings = settings_of(redis)
    telemetry.configure(settings, "bench")
    logs.configure("json", "bench", io.StringIO())
    process = Process(settings)
    process.announce("default")
    bridge = Claims(process.scripts)
    while bridge.once():
        pass
    for lane in (keys.SEQUENCER, "default"):
        while worked(process.drains[lane]):
            pass
    if redis.client.hgetall(keys.DEPTHS).get(b"noop", b"0") != b"0":
        raise BenchError("the models were not worked off")


def _models(redis: Redis) -> Iterator[tuple[str, str, int, list[str]]]:
    """Yield stream, id, count of events and their names."""
    holdings = Holdings(redis)
    rows: Any = redis.zrange(keys.STREAMS, 0, -1)
    for stream in map(text, rows):
        facts = holdings.facts(stream)
        yield stream, stream.rpartition("/")[2], len(facts), facts


def file_letters(redis: Redis, amount: int) -> None:
    """File dead letters of the newest events that have none yet, by the call that files them."""
    scripts = Scripts(redis)
    rows: Any = redis.xrevrange(keys.EVENTS, count=amount)
    letters = [
        {
            "reason": "rejected", "detail": "the bench", "source": "default", "key": text(row[b"stream"]).partition(":")[2],
            "type": text(row[b"type"]), "action": "noop", "lane": "default", "unit": f"noop|{text(row[b'stream'])}",
            "entry": text(row[b"event"]) + '{"at":1.0}', "event": text(row[b"event"]),
        }
        for _, row in rows
    ]  # fmt: skip
    for first in range(0, len(letters), LETTERS_AT_ONCE):
        script_calls.append(scripts, letters=letters[first : first + LETTERS_AT_ONCE])
