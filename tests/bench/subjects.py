"""How each subject is started: command lines and environment, Deedbox's as they ship, the peers' as documented."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

from deedbox.shared.redis import keys
from deedbox.shared.settings import Settings
from tests.bench.payloads import API_KEY
from tests.bench.processes import HOST, Crew, python
from tests.bench.redis_server import Server

DEEDBOX: Final = "Deedbox"
FLASK_RQ: Final = "Flask + RQ"
FLASK_CELERY: Final = "Flask + Celery"
FASTAPI_TASKIQ: Final = "FastAPI + taskiq"
FLASK_ACK: Final = "Flask, ack only"

RQ_QUEUE: Final = "rq:queue:default"
CELERY_QUEUE: Final = "celery"
TASKIQ_QUEUE: Final = "taskiq"

QUEUES: Final = {
    DEEDBOX: keys.RAW_QUEUE,
    FLASK_RQ: RQ_QUEUE,
    FLASK_CELERY: CELERY_QUEUE,
    FASTAPI_TASKIQ: TASKIQ_QUEUE,
    FLASK_ACK: None,
}
"""Ingress subjects, in their order, with the Redis list in which each leaves what it accepted."""

_APPS: Final = {
    FLASK_RQ: "tests.bench.peers.flask_rq_app:app",
    FLASK_CELERY: "tests.bench.peers.flask_celery_app:app",
    FLASK_ACK: "tests.bench.peers.flask_ack_app:app",
}

Process = subprocess.Popen[bytes]


def deedbox_environment(redis: Server) -> dict[str, str]:
    """Return the settings of a Deedbox process."""
    return {
        "DEEDBOX_API_KEYS": API_KEY,
        "DEEDBOX_REDIS_URL": redis.url,
        "DEEDBOX_DATA_DIR": str(redis.directory / "data"),
        "DEEDBOX_BUILTINS": "none",
        "DEEDBOX_ACTIONS": "tests.bench.actions",
        "DEEDBOX_MAX_EVENT_AGE_S": "0",  # the callbacks are of a fixed year
    }


def peer_environment(redis: Server) -> dict[str, str]:
    """Return the settings of a peer's process."""
    return {"BENCH_API_KEY": API_KEY, "BENCH_REDIS_URL": redis.url}


def ingress(crew: Crew, subject: str, redis: Server, port: int) -> Process:
    """Start the web process of a subject; it need not listen yet."""
    if subject == DEEDBOX:
        return crew.spawn(python("-m", "deedbox.ingress"), deedbox_environment(redis) | {"PORT": str(port)})
    shipped = Settings.load({})
    if subject == FASTAPI_TASKIQ:
        command = python(
            "-m", "uvicorn", "--workers", str(shipped.web_workers), "--host", HOST, "--port", str(port),
            "--loop", "uvloop", "--http", "httptools", "--timeout-keep-alive", "75", "--backlog", "2048",
            "--no-access-log", "--log-level", "warning", "tests.bench.peers.fastapi_taskiq_app:app",
        )  # fmt: skip
        return crew.spawn(command, peer_environment(redis))
    command = python(
        "-m", "gunicorn", "--worker-class", "gthread", "--workers", str(shipped.web_workers),
        "--threads", str(shipped.web_threads), "--bind", f"{HOST}:{port}", "--keep-alive", "75",
        "--backlog", "2048", "--no-control-socket", "--log-level", "warning",
    )  # fmt: skip
    if Path("/dev/shm").is_dir():  # noqa: S108 - as our own web process has it
        command += ("--worker-tmp-dir", "/dev/shm")  # noqa: S108
    return crew.spawn((*command, _APPS[subject]), peer_environment(redis))


def deedbox_bridge(crew: Crew, redis: Server) -> Process:
    """Start a bridge."""
    return crew.spawn(python("-m", "deedbox.workers", "bridge"), deedbox_environment(redis))


def deedbox_sweeper(crew: Crew, redis: Server) -> Process:
    """Start a sweeper."""
    return crew.spawn(python("-m", "deedbox.workers", "sweeper"), deedbox_environment(redis))


def deedbox_worker(crew: Crew, redis: Server, lane: str, probe: dict[str, str]) -> Process:
    """Start a worker of one lane."""
    command = python("-m", "deedbox.workers", "worker", "--lane", lane)
    return crew.spawn(command, deedbox_environment(redis) | probe)


def deedbox_workers(crew: Crew, redis: Server, probe: dict[str, str]) -> tuple[Process, ...]:
    """Start everything behind the broker, one process of each kind."""
    return (
        deedbox_bridge(crew, redis),
        deedbox_worker(crew, redis, keys.SEQUENCER, probe),
        deedbox_worker(crew, redis, "default", probe),
        deedbox_sweeper(crew, redis),
    )


def rq_worker(
    crew: Crew, redis: Server, probe: dict[str, str], *, fork: bool = False, processes: int = 1
) -> tuple[Process, ...]:
    """Start RQ workers with no line per job: those that do not fork, or ``rq worker`` as it comes."""
    command = python("-m", "rq.cli", "worker", "--url", redis.url, "--quiet")
    if not fork:
        command += ("--worker-class", "rq.SimpleWorker")
    environ = peer_environment(redis) | probe
    return tuple(crew.spawn(command, environ) for _ in range(processes))


def celery_worker(
    crew: Crew, redis: Server, probe: dict[str, str], *, processes: int = 1
) -> tuple[Process, ...]:
    """Start a Celery worker with a pool of processes; its default log level has no line per task."""
    command = python(
        "-m", "celery", "-A", "tests.bench.peers.celery_app", "worker", "--pool", "prefork", "-c", str(processes)
    )  # fmt: skip
    return (crew.spawn(command, peer_environment(redis) | probe),)


def taskiq_worker(
    crew: Crew, redis: Server, probe: dict[str, str], *, processes: int = 1
) -> tuple[Process, ...]:
    """Start a taskiq worker, with no line per task."""
    command = python(
        "-m", "taskiq", "worker", "--workers", str(processes), "--log-level", "WARNING",
        "tests.bench.peers.taskiq_app:broker",
    )  # fmt: skip
    return (crew.spawn(command, peer_environment(redis) | probe),)


CONSUMERS: Final = {
    DEEDBOX: deedbox_workers,
    FLASK_RQ: rq_worker,
    FLASK_CELERY: celery_worker,
    FASTAPI_TASKIQ: taskiq_worker,
}
"""What works behind the broker: one process, of each kind in Deedbox's case."""

BLOCKED: Final = {DEEDBOX: 3, FLASK_RQ: 1, FLASK_CELERY: 1, FASTAPI_TASKIQ: 1}
"""How many clients wait in a blocking read once all consumers are ready (the sweeper polls)."""
