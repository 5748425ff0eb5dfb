"""An action that keeps the read model, another writer of it, and the law of both: each change is there once, and none is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Any, Final

from redis.exceptions import RedisError

from deedbox.shared import sealing
from deedbox.shared.archives.stream_archive import StreamArchive
from deedbox.shared.core.errors import Unavailable
from deedbox.shared.core.request_snapshot import request_of
from deedbox.shared.records.read_model import load
from deedbox.shared.redis import data_keys, keys
from deedbox.shared.redis.data_keys import Keys
from deedbox.shared.redis.scripting import Scripts
from deedbox.shared.retention import Retention
from deedbox.shared.sealing.key_ring import DataKey
from deedbox.workers.actions.interface import Context, Event, Retry, change_model, model_of
from deedbox.workers.builtins import read_model
from tests.simulation.client import SimulatedRedis
from tests.simulation.doubles import Limits
from tests.simulation.journal import Journal
from tests.simulation.scheduler import START
from tests.simulation.server import Server

NAME: Final = "tracked"
TRACKING: Final = 0.3
"""Share of schedules with the action: each event that it gets costs steps."""

STREAMS: Final = ("default:signature_request/r0", "default:signature_request/r1")
DURATIONS_S: Final = (0.0, 0.0, 0.0, 0.0, 0.5, 3.0)
FAILING: Final = 0.1


def tracks(seed: int) -> bool:
    """Return whether a schedule has the action."""
    return Random(f"{seed}|tracks").random() < TRACKING


class Tracking:
    """What happens to the read models of one schedule."""

    def __init__(self, seed: int, journal: Journal, limits: Limits) -> None:
        self._seed = seed
        self._journal = journal
        self._limits = limits
        self.asked: Counter[str] = Counter()
        """Changes that the other writer knows to be written, by stream."""

    def __call__(self, event: Event, context: Context) -> None:
        """Count the event in the model."""
        draw = Random(f"{self._seed}|{context.idempotency_key}|{context.attempt}|{context.retries}")
        self._limits.spend(draw.choice(DURATIONS_S))
        if draw.random() < FAILING:
            raise draw.choice((Retry("later", 0.5), ValueError("broken")))
        model, fingerprint = model_of(context), context.idempotency_key.partition(":")[0]
        counted = Counter(model.get("counted", {})) + Counter([fingerprint])
        change_model(context, {**model, "counted": dict(counted)}, request_of(event.payload))
        self._journal.effects.append((NAME, fingerprint))

    def ask(self, redis: SimulatedRedis, pause: Callable[[float], None]) -> None:
        """Change the models meanwhile, as an answer of the API does."""
        draw = Random(f"{self._seed}|asks")
        for at in sorted(START + draw.random() * 12 for _ in range(6)):
            pause(at)
            stream = draw.choice(STREAMS)
            try:
                read_model.change(Scripts(redis), stream, _asked, Retention())
            except (Unavailable, RedisError):
                continue
            self.asked[stream] += 1

    def broken(
        self, server: Server, timelines: Mapping[str, list[dict[str, Any]]], archives: Mapping[str, StreamArchive], erased: str
    ) -> Iterator[str]:  # fmt: skip
        """Check that each done call is counted once, none that is not done, and that the other writer's changes are there."""
        for stream in {*timelines, *self.asked} - {erased}:
            archive = archives.get(stream, StreamArchive())
            stored = server.execute("GET", keys.request(stream)) or archive.values.get("request")
            model = (load(_opened(server, stream, stored)) or {}) if stored else {}
            done = Counter(
                line["event"]
                for line in timelines.get(stream, ())
                if line["kind"] == "action" and line.get("action") == NAME
            )
            if model.get("counted", {}) != done:
                yield f"P4 model: {stream} counts {model.get('counted')}, and {dict(done)} is done"
            if model.get("asked", 0) < self.asked[stream]:
                yield f"P2 model: {self.asked[stream] - model.get('asked', 0)} changes of {stream} were lost"


def _opened(server: Server, stream: str, stored: bytes) -> bytes:
    ring = sealing.ring()
    if ring is None:
        return stored
    wrapped = server.execute("HGET", keys.data_key(stream), "wrapped")
    key = DataKey.unwrap(ring, wrapped, data_keys.wrapping(stream))
    return Keys({stream: key}, {}).open_value(stream, stored)


def _asked(model: Mapping[str, Any]) -> dict[str, Any]:
    return {**model, "asked": model.get("asked", 0) + 1}
