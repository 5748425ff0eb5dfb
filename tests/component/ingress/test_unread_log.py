"""Nothing reads the log: the pipe that is every process's standard error is full from the start and stays so."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from deedbox.shared.redis.embedded import free_port
from tests.component.ingress.conftest import listens, stop, wait_until
from tests.component.ingress.spooling import MortalRedis
from tests.component.ingress.test_web_process import ACK, environment
from tests.unit.ingress.wire import MULTIPART, callback, multipart

pytestmark = pytest.mark.real_redis

CALLBACKS = 500
"""More lines than any pipe holds, had it been empty."""

PROCESSES = {
    "bridge": ("deedbox.workers", "bridge"),
    "sequencer": ("deedbox.workers", "worker", "--lane", "sequencer"),
    "default": ("deedbox.workers", "worker", "--lane", "default"),
    "sweeper": ("deedbox.workers", "sweeper"),
    "web": ("deedbox.ingress",),
    "ops": ("deedbox.ops.web",),
}


@contextmanager
def full_pipe() -> Iterator[int]:
    """Give the writing end of a pipe that holds no more byte."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        while True:
            os.write(writing, b"x" * 65536)
    except BlockingIOError:
        pass
    os.set_blocking(writing, True)
    try:
        yield writing
    finally:
        os.close(reading)
        os.close(writing)


def answer(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=3)
    try:
        link.request(method, path, body, {"Content-Type": MULTIPART} if body else {})
        found = link.getresponse()
        return found.status, found.read()
    finally:
        link.close()


def test_no_process_waits_for_the_reader_of_its_log(mortal: MortalRedis, tmp_path: Path) -> None:
    calls, port, ops_port = tmp_path / "calls", free_port(), free_port()
    env = environment(
        DEEDBOX_REDIS_URL=mortal.url,
        DEEDBOX_DATA_DIR=str(tmp_path / "var"),
        DEEDBOX_ACTIONS="deedbox.workers.builtins.recorder",
        DEEDBOX_BUILTINS="none",
        DEEDBOX_RECORD_PATH=str(calls),
        DEEDBOX_MAX_EVENT_AGE_S="0",
        PORT=str(port),
        OPS_PORT=str(ops_port),
    )
    with ExitStack() as stack:
        pipe = stack.enter_context(full_pipe())
        running = {}
        for name, (module, *arguments) in PROCESSES.items():
            command = [sys.executable, "-m", module, *arguments]
            running[name] = subprocess.Popen(command, env=env, stderr=pipe, stdout=subprocess.DEVNULL)
            stack.callback(stop, running[name])
        wait_until(lambda: listens(port) and listens(ops_port))
        for number in range(CALLBACKS):
            # Every tenth is refused: those lines are warnings, and take another way through the log.
            request = {"signature_request_id": f"r{number}"}
            text = callback(key="wrong") if number % 10 == 9 else callback(signature_request=request)
            status, body = answer(port, "POST", "/callbacks", multipart(text))
            assert (status, body) == (200, ACK) or (status == 401 and number % 10 == 9), number
        assert answer(port, "GET", "/healthz")[0] == 200
        assert answer(ops_port, "GET", "/healthz")[0] == 200
        wait_until(lambda: calls.exists() and calls.read_bytes().count(b"\n") >= CALLBACKS * 9 // 10, 60)
        for process in running.values():
            process.send_signal(signal.SIGTERM)
        until = time.monotonic() + 20
        for name, process in running.items():
            assert process.wait(max(0.0, until - time.monotonic())) == 0, name
