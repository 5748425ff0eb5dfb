"""Which workers live, by lane. Reads RQ's hashes directly: its registries tidy up when they are counted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from deedbox.shared.redis.keys import RQ_QUEUE_PREFIX
from deedbox.shared.redis.scripting import text

RQ_WORKERS: Final = "rq:workers"
"""RQ's set of the keys of worker hashes; a killed worker's key stays until another worker tidies up."""

FIELDS: Final = ("queues", "state", "last_heartbeat")

HEARTBEAT_MAX_S: Final = 75.0
"""Silence after which an idle worker counts as gone: they beat every 5 s, RQ itself allows a minute."""


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker process, as RQ knows it."""

    name: str
    lane: str
    state: str
    """``idle``, ``busy``, ``started`` or ``suspended``."""
    heartbeat_age_s: float | None

    def alive(self, *, lane_leased: bool) -> bool:
        """Tell whether it lives. A busy one beats no heart during a call; then a lease of its lane speaks for it."""
        if self.heartbeat_age_s is None:
            return False
        return self.heartbeat_age_s < HEARTBEAT_MAX_S or (self.state == "busy" and lane_leased)


def of_reply(key: bytes | str, values: Sequence[bytes | None], now: float) -> list[Worker]:
    """Build the workers of one hash: none if it expired or serves other queues than ours.

    ``values``: the hash's ``FIELDS``. ``now``: unix seconds.
    """
    queues, state, heartbeat = (text(value) if value is not None else "" for value in values)
    name = text(key).removeprefix("rq:worker:")
    lanes = [queue.removeprefix(RQ_QUEUE_PREFIX) for queue in queues.split(",") if _ours(queue)]
    return [Worker(name, lane, state or "unknown", _age_s(heartbeat, now)) for lane in lanes]


def living(workers: Iterable[Worker], leased: Mapping[str, bool]) -> list[Worker]:
    """Return those that live, by lane and name. ``leased``: lanes in which a lease runs."""
    alive = [worker for worker in workers if worker.alive(lane_leased=leased.get(worker.lane, False))]
    return sorted(alive, key=lambda worker: (worker.lane, worker.name))


def as_json(workers: Iterable[Worker]) -> list[dict[str, Any]]:
    """Return JSON values."""
    return [
        {"name": w.name, "lane": w.lane, "state": w.state, "heartbeat_age_s": w.heartbeat_age_s}
        for w in workers
    ]


def _ours(queue: str) -> bool:
    return queue.startswith(RQ_QUEUE_PREFIX)


def _age_s(heartbeat: str, now: float) -> float | None:
    try:
        at = datetime.fromisoformat(heartbeat)
    except ValueError:
        return None
    aware = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return round(max(0.0, now - aware.timestamp()), 3)
