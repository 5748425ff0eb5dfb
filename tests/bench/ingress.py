"""Ingress: accepted callbacks per second, CPU per 1,000, and the time to the answer, 16 connections at a time.

Before it is measured, each subject has to take a genuine callback and refuse a forged one; afterwards its
queue in Redis has to hold exactly what it has acknowledged.

Not measured: networks, TLS, proxies, slow senders, more than one machine; behaviour without a broker. The load
generator shares the cores. A closed loop never overloads: its latency is that of a full house, not of a quiet one.
"""

from __future__ import annotations

import socket
import time
from typing import Final

from tests.bench import subjects
from tests.bench.load import Plan
from tests.bench.payloads import distinct, forged, write_file
from tests.bench.processes import HOST, BenchError, free_port
from tests.bench.redis_server import Server
from tests.bench.room import CONNECTIONS, SETTLE_S, Meter, Room, Sample, percentile

KEPT: Final = "ingress, keep-alive"
CLOSED: Final = "ingress, connection per callback"
WARM_UP_S: Final = 0.6
SPOOL_PATIENCE_S: Final = 10.0


def measure(room: Room, subject: str) -> list[Sample]:
    """Measure one subject once, with and without keep-alive. Raises BenchError if it loses or refuses a callback."""
    with room.redis() as redis:
        port = free_port()
        server = subjects.ingress(room.crew, subject, redis, port)
        try:
            room.crew.wait_for(subject, lambda: listens(port))
            accepted = _preflight(room, subject, port) + _warm_up(room, port)
            samples = []
            for section, keep_alive in ((KEPT, True), (CLOSED, False)):
                plan = Plan(port, str(room.bodies), keep_alive, room.scale.ingress_s, CONNECTIONS)
                sample = Sample(section, subject, _loop(room, redis, server, plan))
                accepted += int(sample.values["accepted"])
                samples.append(sample)
            _check(room, redis, subject, accepted)
            return samples
        finally:
            room.crew.stop(server)


def _loop(room: Room, redis: Server, server: subjects.Process, plan: Plan) -> dict[str, float]:
    meter = Meter(redis, server)
    result = room.generator.offer(plan)
    return meter.per_1000(result.accepted) | {
        "per_s": result.accepted / result.seconds,
        "accepted": float(result.accepted),
        "p50_ms": percentile(result.answer_ms, 0.50),
        "p99_ms": percentile(result.answer_ms, 0.99),
        "generator_cpu_s_per_1000": result.cpu_s / result.accepted * 1000,
        "reopened": float(result.reopened),
    }


def listens(port: int) -> bool:
    """Tell whether somebody accepts connections on the port."""
    try:
        socket.create_connection((HOST, port), 1).close()
    except OSError:
        return False
    return True


def _preflight(room: Room, subject: str, port: int) -> int:
    """Send one genuine and one forged callback. Returns the accepted ones."""
    (text,) = distinct(1, seed=3)
    forgery = room.directory / "forged"
    write_file(forgery, [forged(text)])
    refused = room.generator.try_out(Plan(port, str(forgery), keep_alive=False, count=1, connections=1))
    if subject == subjects.FLASK_ACK:
        return 0
    if not refused.refused:
        raise BenchError(f"{subject} did not refuse a forged callback")
    return room.generator.offer(
        Plan(port, str(room.bodies), keep_alive=False, count=1, connections=1)
    ).accepted


def _warm_up(room: Room, port: int) -> int:
    accepted = room.generator.offer(Plan(port, str(room.bodies), keep_alive=True, seconds=WARM_UP_S)).accepted
    time.sleep(SETTLE_S)
    return accepted


def _check(room: Room, redis: Server, subject: str, accepted: int) -> None:
    """Look whether what was acknowledged is there.

    Deedbox may have acknowledged some from its spool, if Redis took long to answer; they arrive a moment later, and
    may arrive twice, which dedupe absorbs.
    """
    queue = subjects.QUEUES[subject]
    if queue is None:
        return
    if subject == subjects.DEEDBOX:
        room.crew.wait_for(
            f"{subject}: the spool", lambda: redis.client.llen(queue) >= accepted, SPOOL_PATIENCE_S
        )
    elif redis.client.llen(queue) != accepted:
        raise BenchError(
            f"{subject} acknowledged {accepted} callbacks, its queue holds {redis.client.llen(queue)}"
        )
