"""What the browser tests look at: requests, dead letters, workers, reports and history in a real Redis."""

from __future__ import annotations

import json
import math
import time
from typing import Any

from redis import Redis

from deedbox.ops.charts.samples import FIELD, INTERVAL_S
from deedbox.shared.records.presence import Presence, dump
from deedbox.shared.records.sample import Sample
from deedbox.shared.redis import keys
from deedbox.shared.redis.scripting import SERVER_CLOCK, Scripts
from deedbox.workers.actions.interface import Context, Event, Reject
from deedbox.workers.builtins import track_status
from tests.component.workers.rig import Deployment, action, sent, viewed

BOUNDS = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500]


def deployment(
    state: Redis, name: str = "crm", why: str = "the CRM does not know this request"
) -> Deployment:
    """Return a deployment that tracks requests and whose other action rejects every ``viewed``."""

    def reject(_event: Event, _context: Context) -> None:
        raise Reject(why)

    def publish(_event: Event, context: Context) -> None:
        context.note("published")

    return Deployment(
        state,
        track_status.registered(),
        action(reject, "signature_request_viewed", name=name, lane="crm"),
        action(publish, "signature_request_sent", name="publish"),
    )


def letters(state: Redis, count: int, title: str = "Lease", **more: str) -> Deployment:
    """Let that many requests each leave a dead letter."""
    world = deployment(state, **more)
    for number in range(count):
        world.deliver(
            sent(request_id=f"r{number}", title=f"{title} {number}"),
            viewed(5, f"r{number}", title=f"{title} {number}"),
        )
    world.run()
    return world


def worker(state: Redis, name: str, lane: str, *, busy: bool = False) -> None:
    """Let a worker process say that it lives, for as long as a test takes."""
    running = ("fetch_documents", "e" * 32, 1.0) if busy else ()
    Scripts(state).call("present", SERVER_CLOCK, name, 600.0, dump(Presence(lane, *running)))


def report(
    state: Redis, process: str = "host:1", *, at: float | None = None, failures: int = 0, **source: Any
) -> None:
    """Write a web process's report."""
    now = time.time() if at is None else at
    row = {
        "accepted": 1200, "spooled": 0, "refused": {"bad_event_hash": failures} if failures else {}, **source,
    }  # fmt: skip
    counts = [10, 400, 500, 200, 60, 20, 5, 3, 1, 1, 0, 0]
    document = {"at": now, "started_at": now - 9000, "ack_ms": {"bounds": BOUNDS, "counts": counts},
                "sources": {"default": row}}  # fmt: skip
    state.hset(keys.INTAKE, process, json.dumps(document))
    kept: dict[str, str | float] = {"accepted": 1200, "last_accepted_at": now - 60, "last_test_at": now - 7200,
            "failures": ",".join(str(now - 50 + each) for each in range(failures))}  # fmt: skip
    state.hset(keys.SOURCES, mapping={f"default|{name}": value for name, value in kept.items()})


def history(state: Redis, hours: float = 6.0, now: float | None = None) -> None:
    """Write the samples of the last hours: a day's wave, a burst of refusals, a bridge that was away."""
    end = int((time.time() if now is None else now) // INTERVAL_S)
    count = int(hours * 3600 / INTERVAL_S)
    # In one step: the ops process that is looked at takes samples of its own, and ids may only grow.
    pipe = state.pipeline(transaction=True)
    pipe.delete(keys.SAMPLES)
    for index, slot in enumerate(range(end - count, end)):
        pipe.xadd(
            keys.SAMPLES, {FIELD: _sample(slot * INTERVAL_S, index / count).dump()}, id=f"{slot * 10_000}-0"
        )
    pipe.execute()


def _sample(at: float, share: float) -> Sample:
    wave = 55 + 35 * math.sin(share * 9) + 12 * math.sin(share * 61) + 7 * math.sin(at / 37)
    accepted = max(0, round(wave))
    away = 0.55 < share < 0.62
    waiting = round((share - 0.55) * 40_000) if away else 0
    depth = {"broker": waiting, "inbox": round(wave / 20), "held": round(2 + 2 * math.sin(share * 40)),
             "lane:default": round(wave / 12), "lane:documents": round(3 + 3 * math.sin(share * 23)),
             "retrying": 2 if share > 0.8 else 0, "dead": 3 if share > 0.85 else 0, "spool": 0}  # fmt: skip
    ages = {"broker": (share - 0.55) * hours_s if (hours_s := 21_600.0) and away else 0.0,
            "held": 4 + 3 * math.sin(share * 40), "lane:default": 0.4}  # fmt: skip
    refused = (
        {"bad_event_hash": 3} if 0.3 < share < 0.33 else {"bad_field": 1} if int(at / 10) % 97 == 0 else {}
    )
    slow = 12 if away else 2
    acks = [
        2,
        accepted // 2,
        accepted // 3,
        accepted // 8,
        accepted // 20,
        slow,
        slow // 2,
        slow // 6,
        0,
        0,
        0,
        0,
    ]
    happened = {"accepted": accepted, "released": 0 if away else accepted, "late": int(at / 10) % 13 == 0,
                "duplicate": round(accepted / 11), "action_done": 0 if away else round(accepted * 2.1),
                "action_retry": int(share > 0.8)}  # fmt: skip
    return Sample(at, INTERVAL_S, depth, ages, happened, refused, BOUNDS, acks)
