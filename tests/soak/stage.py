"""``deedbox up`` as the soak runs it, and the hand that kills its processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from deedbox.ops.demo import home
from deedbox.ops.supervise.readiness import callback_url
from deedbox.shared.settings import Settings
from tests.soak import hanging, moving
from tests.soak.log_reader import LogReader
from tests.soak.plan import Kill, Options, hangs_one_in
from tests.soak.replicas import ReplicatedRedis
from tests.soak.small_disk import SmallDisk
from tests.support.rabbitmq import RabbitServer

READY_WITHIN_S: Final = 90.0
ROOT: Final = Path(__file__).parents[2]
_COMMAND: Final = Path(sys.executable).with_name("deedbox")
_WORDS: Final = {
    "web": "deedbox.ingress",
    "web-worker": "deedbox.ingress",
    "bridge": "bridge",
    "sweeper": "sweeper",
    "sequencer": "sequencer",
    "default": "default",
    "documents": "documents",
    hanging.NAME: hanging.NAME,
}
"""Kind of process -> last word of its command line."""


class Stage:
    """The deployment; ``close`` stops it."""

    api_host = "127.0.0.1"

    def __init__(self, options: Options, api_key: str) -> None:
        self.folder, self.data_dir = options.folder, options.folder / "data"
        self.record = options.folder / "record.jsonl"
        environ = dict(os.environ)
        self.api_port = home.isolate(environ, self.data_dir, api_key)
        self._disk = SmallDisk(self.data_dir) if options.small_disk else None
        self.rabbitmq = RabbitServer(options.folder / "rabbitmq") if options.rabbitmq else None
        self.amqp_url = self.rabbitmq.url if self.rabbitmq is not None else None
        if self.rabbitmq is not None:
            self.rabbitmq.start()
            environ["DEEDBOX_BROKER_URL"] = self.rabbitmq.url
        self._redis = (
            ReplicatedRedis(options.folder / "redis", options.replicas) if options.replicas else None
        )
        if self._redis is not None:
            environ["DEEDBOX_REDIS_URL"] = self._redis.url
            environ["DEEDBOX_REDIS_WAIT_REPLICAS"] = str(options.replicas)
        self.settings = Settings.load(environ)
        self.url = callback_url(self.settings)
        self._deploys = moving.Deploys(options.folder)
        environ["DEEDBOX_ACTIONS"] += f",{hanging.__name__},{moving.__name__}"
        environ["DEEDBOX_RECORD_PATH"] = str(self.record)
        environ[hanging.ONE_IN_VARIABLE] = str(hangs_one_in(options))
        environ[moving.FOLDER_VARIABLE] = str(options.folder)
        environ["PYTHONPATH"] = str(ROOT)
        self._log = LogReader(options.folder / "up.log")
        self._up = subprocess.Popen(
            [_COMMAND, "up"], env=environ, cwd=options.folder, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=self._log.writing, stderr=self._log.writing,
        )  # fmt: skip
        self._signalled: set[int] = set()

    def wait_until_ready(self) -> None:
        """Wait for the line that says so. Raises TimeoutError."""
        deadline = time.monotonic() + READY_WITHIN_S
        while "Deedbox is ready." not in (self.folder / "up.log").read_text(errors="replace"):
            if time.monotonic() > deadline or self._up.poll() is not None:
                raise TimeoutError(f"deedbox up did not start; {self.folder / 'up.log'} says why")
            time.sleep(0.2)

    def kill(self, kill: Kill) -> int | None:
        """Do it; returns the pid of the process that was hit, ours for what is no process, None if there is none right now."""
        number = signal.SIGKILL if kill.signal == "KILL" else signal.SIGTERM
        if kill.target == "log":
            self._log.stall()
        elif kill.target == "disk" and self._disk is not None:
            self._disk.fill()
        elif kill.target == "lane":
            self._deploys.deploy(self._processes)
        elif kill.target == "rabbitmq" and self.rabbitmq is not None:
            pid = self.rabbitmq.end(number)
            self.rabbitmq.start()
            return pid
        elif self._redis is not None and kill.target == "redis":
            return self._redis.end_master(number)
        elif self._redis is not None and kill.target == "replica":
            return self._redis.end_replica(number)
        else:
            return self._signal(kill.target, number)
        return os.getpid()

    def _signal(self, target: str, number: int) -> int | None:
        """Signal one process of that kind, none of them twice."""
        for process in self._processes(target):
            if process.pid not in self._signalled:
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(number)
                    self._signalled.add(process.pid)
                    return int(process.pid)
        return None

    def _processes(self, target: str) -> Iterable[psutil.Process]:
        for child in psutil.Process(self._up.pid).children():
            with suppress(psutil.NoSuchProcess, IndexError):
                command = [word for word in child.cmdline() if word]  # a fork's ends with empty ones
                if target == "redis":
                    found = child.name() in {"redis-server", "valkey-server"}
                else:
                    found = command[-1] == _WORDS[target] and "--parent" not in command
                if found:
                    yield from child.children() if target == "web-worker" else [child]

    def close(self) -> None:
        """Stop everything; what does not stop in time is killed."""
        left = [psutil.Process(self._up.pid), *psutil.Process(self._up.pid).children(recursive=True)]
        self._up.terminate()
        _gone, alive = psutil.wait_procs(left, timeout=60)
        for process in alive:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._up.wait()
        if self.rabbitmq is not None:
            self.rabbitmq.close()
        if self._redis is not None:
            self._redis.close()
        self._log.close()
        if self._disk is not None:
            self._disk.close()
