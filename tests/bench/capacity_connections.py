"""How many connections to Redis each kind of process opens, and what memory it has: under load, then counted.

Web processes get 16 connections at a time for a moment; a process opens no more than its threads need. What is counted
are established connections of the whole process tree to the port of Redis.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import psutil

from tests.bench import subjects
from tests.bench.figures import Figure
from tests.bench.generator import Generator
from tests.bench.ingress import listens
from tests.bench.load import Plan
from tests.bench.payloads import distinct, write_file
from tests.bench.processes import HOST, Crew, free_port
from tests.bench.redis_server import Server, redis_server

COMMAND: Final = "python -m tests.bench.capacity"

CALLBACKS: Final = 3_000
LOAD_S: Final = 1.5
SETTLE_S: Final = 1.5
"""A report of the web process to the state's Redis is due every second."""


def measure_connections(crew: Crew, directory: Path) -> list[Figure]:
    """Count them for the processes that ``stages`` does not run. Raises BenchError."""
    bodies = directory / "bodies"
    write_file(bodies, distinct(CALLBACKS))
    generator = Generator(crew)
    found = []
    with redis_server(crew, directory) as redis:
        port = free_port()
        web = subjects.ingress(crew, subjects.DEEDBOX, redis, port)
        try:
            crew.wait_for("web", lambda: listens(port))
            generator.offer(Plan(port, str(bodies), keep_alive=True, seconds=LOAD_S))
            found += _figures("web", web, redis)
        finally:
            crew.stop(web)
    with redis_server(crew, directory) as redis:
        sweeper = subjects.deedbox_sweeper(crew, redis)
        try:
            crew.wait_for("sweeper", lambda: _connections(sweeper, redis) > 0)
            found += _figures("sweeper", sweeper, redis)
        finally:
            crew.stop(sweeper)
    return found


def _figures(title: str, process: subjects.Process, redis: Server) -> list[Figure]:
    time.sleep(SETTLE_S)
    memory = sum(each.memory_info().rss for each in _tree(process)) / 1e6
    return [
        Figure(f"{title}: connections", _connections(process, redis), "connections to Redis", COMMAND),
        Figure(f"{title}: memory", memory, "MB resident, all its processes", COMMAND),
    ]


def _connections(process: subjects.Process, redis: Server) -> int:
    port = urlsplit(redis.url).port
    return sum(
        each.status == psutil.CONN_ESTABLISHED and bool(each.raddr) and tuple(each.raddr) == (HOST, port)
        for member in _tree(process)
        for each in member.net_connections("tcp")
    )


def _tree(process: subjects.Process) -> list[psutil.Process]:
    root = psutil.Process(process.pid)
    return [root, *root.children(recursive=True)]
