"""Amazon's services of this machine's own: moto's server as a process on a private port. It keeps everything in memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.request import Request, urlopen

import boto3

from deedbox.shared.redis.embedded import free_port

STARTS_WITHIN_S: Final = 60.0
REGION: Final = "eu-central-1"
KEY: Final = "key"
SECRET: Final = "s3cret"


class MotoServer:
    """One server process, ended by its pid."""

    def __init__(self, folder: Path, service: str) -> None:
        self.port = free_port()
        self._service = service
        self._log = (folder / "moto.log").open("ab")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start and wait until it answers. Raises TimeoutError."""
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        self._process = subprocess.Popen(command, env=kept, stdout=self._log, stderr=self._log)
        deadline = time.monotonic() + STARTS_WITHIN_S
        while time.monotonic() < deadline:
            with suppress(OSError), urlopen(f"{self.address}/moto-api/data.json", timeout=2):  # noqa: S310
                self.warm_up()
                return
            time.sleep(0.1)
        raise TimeoutError("moto's server did not start")

    def warm_up(self) -> None:
        """Call it once: it loads its services at the first call, which takes longer than a client waits."""

    @property
    def pid(self) -> int:
        """Pid of the process that serves."""
        assert self._process is not None
        return self._process.pid

    def empty(self) -> None:
        """Forget everything."""
        self.tell("reset")

    def tell(self, what: str, body: bytes = b"") -> None:
        """Ask moto itself for something."""
        headers = {"Content-Type": "text/plain"}
        request = Request(f"{self.address}/moto-api/{what}", data=body, headers=headers, method="POST")  # noqa: S310
        urlopen(request, timeout=10).close()  # noqa: S310

    def client(self) -> Any:
        """Return Amazon's own client."""
        return boto3.client(
            self._service, endpoint_url=self.address, region_name=REGION, aws_access_key_id=KEY, aws_secret_access_key=SECRET,
        )  # fmt: skip

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._log.close()
