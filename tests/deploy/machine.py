"""A machine that systemd boots: its own process tree, its own network, a Redis and the shipped units.

``systemd-nspawn`` runs it. It sees this machine's /usr, this checkout and its packages, all read-only.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import psutil

from tests.component.workers.server import missing
from tests.deploy.processes import ROOT
from tests.deploy.units import UNITS
from tests.support.waiting import until

KEY: Final = "k" * 64
TOKEN: Final = "t" * 32
SERVER: Final = "redis-server"

_PYTHON: Final = f"python{sys.version_info.major}.{sys.version_info.minor}"
_ENVIRONMENT: Final = {
    "PYTHONPATH": "/opt/checkout:/opt/packages",
    "PYTHONDONTWRITEBYTECODE": "1",
    "LD_LIBRARY_PATH": "/opt/python/lib",
}
_REDIS: Final = f"""[Service]
Type=notify
ExecStart=/usr/bin/{SERVER} --supervised systemd --appendonly yes --appendfsync always --save "" --dir /var/lib/redis
StateDirectory=redis
"""
_SETTINGS: Final = """DEEDBOX_REDIS_URL=redis://127.0.0.1:6379/0
DEEDBOX_BUILTINS=track_status,fetch_documents
"""


class Machine:
    """One running machine, whose first process is ``leader`` here."""

    def __init__(self, leader: int) -> None:
        self._leader = leader

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command as root in the machine."""
        inside = ("nsenter", "--target", str(self._leader), "--all", "--", *command)
        environment = {**_ENVIRONMENT, "PATH": "/opt/deedbox/bin:/usr/bin:/usr/sbin", "LANG": "C.UTF-8"}
        return subprocess.run(inside, env=environment, capture_output=True, text=True, check=False)

    def active(self, unit: str) -> bool:
        """Tell whether a unit runs."""
        return self.run("systemctl", "is-active", unit).stdout.strip() == "active"

    def shown(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        return self.run("systemctl", "show", "--value", "--property", name, unit).stdout.strip()

    def journal(self) -> str:
        """Return what was logged."""
        return self.run("journalctl", "--no-pager", "--quiet", "--output", "cat").stdout


def demand_tools() -> None:
    """Skip where no machine can be booted; in CI that is a failure."""
    if os.geteuid() != 0:
        missing("Booting a machine needs root.")
    for tool, package in (("systemd-nspawn", "systemd-container"), (SERVER, "redis-server")):
        found = shutil.which(tool)
        if found is None or not found.startswith("/usr/"):
            missing(f"No {tool} was found; install Debian's package {package}.")


@contextmanager
def booted(root: Path) -> Iterator[Machine]:
    """Boot a machine whose files are in ``root`` and end it."""
    _furnish(root)
    # By target: the system's own Python has /usr as its prefix.
    binds = {
        "/usr": "/usr",
        "/opt/checkout": ROOT,
        "/opt/python": sys.base_prefix,
        "/opt/packages": sysconfig.get_path("platlib"),
    }
    command = [
        *("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--private-network", "--console=pipe"),
        *(f"--machine=deedbox-{os.getpid()}", f"--directory={root}", "--boot"),
        *(f"--bind-ro={source}:{target}" for target, source in binds.items()),
        *("--", "--unit=test.target"),
    ]
    unified = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    environment = {**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": str(int(unified))}
    with (root.parent / "console.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield Machine(until(lambda: _leader(process.pid), "the machine has a first process"))
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            leader = _leader(process.pid)
            process.kill()
            if leader is not None:
                os.kill(leader, signal.SIGKILL)
            process.wait()


def _leader(nspawn: int) -> int | None:
    """Return the child that is process 1 of its own process tree; there is another child for a moment."""
    for child in psutil.Process(nspawn).children():
        with suppress(OSError):
            status = Path(f"/proc/{child.pid}/status").read_text("ascii")
            if any(line.startswith("NSpid:") and line.endswith("\t1") for line in status.splitlines()):
                return child.pid
    return None


def _furnish(root: Path) -> None:
    """Write the files that an installation writes, as docs/systemd.md says."""
    etc, programs = root / "etc", root / "opt" / "deedbox" / "bin"
    for folder in (
        "usr",
        "proc",
        "sys",
        "dev",
        "run",
        "tmp",
        "var/lib",
        "root",
        "opt/checkout",
        "opt/python",
    ):
        (root / folder).mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    shutil.copytree(UNITS, etc / "systemd" / "system", ignore=shutil.ignore_patterns("*.sysusers.conf"))
    (etc / "sysusers.d").mkdir()
    shutil.copy(UNITS / "deedbox.sysusers.conf", etc / "sysusers.d" / "deedbox.conf")
    programs.mkdir(parents=True)
    (programs / "python").symlink_to(f"/opt/python/bin/{_PYTHON}")
    _write(
        programs / "deedbox", "#!/opt/deedbox/bin/python\nfrom deedbox.ops.cli import main\nmain()\n", 0o755
    )
    _write(etc / "deedbox" / "deedbox.env", _SETTINGS, 0o600)
    _write(etc / "deedbox" / "api_keys", f"{KEY}\n", 0o600)
    _write(etc / "deedbox" / "ops.env", f"DEEDBOX_OPS_TOKEN={TOKEN}\n", 0o600)
    _write(etc / "passwd", "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n", 0o644)
    _write(etc / "group", "root:x:0:\nnogroup:x:65534:\n", 0o644)
    _write(etc / "machine-id", "", 0o644)
    _write(etc / "os-release", "ID=test\n", 0o644)
    words = " ".join(f"{name}={value}" for name, value in _ENVIRONMENT.items())
    _write(etc / "systemd" / "system.conf", f"[Manager]\nDefaultEnvironment={words}\n", 0o644)
    _write(etc / "systemd" / "system" / f"{SERVER}.service", _REDIS, 0o644)
    _write(
        etc / "systemd" / "system" / "test.target",
        f"[Unit]\nRequires=sysinit.target\nWants={SERVER}.service deedbox.target\n",
        0o644,
    )


def _write(path: Path, text: str, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    path.chmod(mode)
