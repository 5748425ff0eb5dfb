"""A PostgreSQL of the tests' own: Debian's programs, a free port of the loopback address, a folder that is thrown away."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

from deedbox.shared.redis.embedded import free_port
from tests.support.waiting import until

OWNER: Final = "postgres"
"""The server refuses to run as root."""


def programs() -> Path | None:
    """Return the folder with the newest server's programs; None if none is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


class PostgresServer:
    """One server."""

    def __init__(self, folder: Path) -> None:
        self._programs = folder
        self._port = free_port()
        self.url = f"postgresql://{OWNER}@127.0.0.1:{self._port}/postgres"
        self._home = Path(tempfile.mkdtemp(prefix="deedbox-postgres-"))
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:
            owner = pwd.getpwnam(OWNER)
            os.chown(self._home, owner.pw_uid, owner.pw_gid)
            self._user = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
        data = str(self._home / "data")
        self._call("initdb", "-D", data, "-U", OWNER, "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C")
        # Without fsync: it is these processes that are killed, and never the server.
        command = [
            str(folder / "postgres"),
            "-D",
            data,
            "-h",
            "127.0.0.1",
            "-p",
            str(self._port),
            "-k",
            "",
            "-F",
        ]
        self._log = (self._home / "log").open("ab")
        self._process = subprocess.Popen(
            command, cwd=self._home, stdout=self._log, stderr=self._log, **self._user
        )
        until(self._listens, "PostgreSQL listens")

    def _call(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        subprocess.run(command, cwd=self._home, check=True, capture_output=True, **self._user)

    def _listens(self) -> bool:
        assert self._process.poll() is None, (self._home / "log").read_text("utf-8")
        command = [str(self._programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self._port)]
        return subprocess.run(command, check=False).returncode == 0

    def stop(self) -> None:
        """Stop it and remove its folder."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(timeout=60)
        self._log.close()
        shutil.rmtree(self._home)
