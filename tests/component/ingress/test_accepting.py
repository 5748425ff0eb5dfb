"""Connections that come at once: each process takes as many as it has threads for, and leaves the others."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from tests.component.ingress.conftest import Server, free_port, listens, stop, wait_until
from tests.component.ingress.test_web_process import ACK, connect, environment, head, read_answer
from tests.unit.ingress.wire import callback, multipart

pytestmark = pytest.mark.real_redis

PROCESSES, THREADS = 2, 3


def taken(port: int, master: int) -> list[int]:
    """Return how many connections each process has accepted."""
    found = []
    for process in psutil.Process(master).children(recursive=True):
        links = process.net_connections("tcp")
        found.append(sum(link.status == "ESTABLISHED" and link.laddr.port == port for link in links))
    return sorted(found)


def test_as_many_requests_as_threads_find_a_thread_each(redis_broker: Server, tmp_path: Path) -> None:
    port = free_port()
    env = environment(
        DEEDBOX_REDIS_URL=redis_broker.url,
        PORT=str(port),
        DEEDBOX_WEB_WORKERS=str(PROCESSES),
        DEEDBOX_WEB_THREADS=str(THREADS),
        DEEDBOX_DATA_DIR=str(tmp_path / "var"),
    )
    body = multipart(callback())
    request = head(len(body), "Connection: close") + body
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen([sys.executable, "-m", "deedbox.ingress"], env=env, stderr=log)
    try:
        wait_until(lambda: listens(port) and taken(port, server.pid) == [0] * PROCESSES)
        with ExitStack() as stack:
            links = [stack.enter_context(connect(port)) for _ in range(PROCESSES * THREADS + 1)]
            for link in links:
                link.sendall(request[:-1])
            wait_until(lambda: sum(taken(port, server.pid)) == PROCESSES * THREADS)
            assert taken(port, server.pid) == [THREADS] * PROCESSES
            # Whoever found no thread is served as soon as there is one.
            for link in links:
                link.sendall(request[-1:])
            assert [read_answer(link) for link in links] == [(200, ACK)] * len(links)
    finally:
        stop(server)
