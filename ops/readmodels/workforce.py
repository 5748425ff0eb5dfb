"""Which workers live, by lane, and what they run: what they have said within the last seconds, by Redis's clock. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from deedbox.shared.records import presence
from deedbox.shared.records.presence import LIFE_S, LostCall
from deedbox.shared.redis.scripting import text


@dataclass(frozen=True, slots=True)
class Worker:
    """One living worker process."""

    name: str
    lane: str
    state: str
    """``idle`` or ``busy``."""
    heartbeat_age_s: float
    action: str = ""
    """What it runs; empty: nothing that takes longer than a moment."""
    event: str = ""
    running_s: float | None = None


def living(ends: Iterable[tuple[bytes, float]], doing: Mapping[bytes, bytes], now: float) -> list[Worker]:
    """Return the workers that live at ``now`` (unix seconds), by lane and name.

    ``ends``: of each worker, when its last word stops counting. ``doing``: what it said.
    """
    workers = []
    for name, end in ends:
        said = presence.load(doing.get(name, b""))
        if end > now and said:
            age_s = round(max(0.0, now - (end - LIFE_S)), 3)
            running_s = None if said.running_s is None else round(said.running_s + age_s, 3)
            state = "idle" if running_s is None else "busy"
            workers.append(Worker(text(name), said.lane, state, age_s, said.action, said.event, running_s))
    return sorted(workers, key=lambda worker: (worker.lane, worker.name))


def lost_calls(rows: Iterable[bytes]) -> list[LostCall]:
    """Return the calls that were lost with their process, the latest first."""
    return [call for row in rows if (call := presence.load_lost(row))]


def as_json(workers: Iterable[Worker]) -> list[dict[str, Any]]:
    """Return JSON values."""
    return [asdict(worker) for worker in workers]
