"""The first program: plays, kills, waits until everything has settled, and writes down what each side knows.

``sent.json`` is what the sender knows, ``kills.jsonl`` what was killed, ``record.jsonl`` what the action
recorded, ``state.json`` what Redis holds. The second program, ``tests.soak.verify``, compares them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.soak.plan import Options, draw_kills, draw_scenario
from tests.soak.play import Soak
from tests.soak.stage import Stage
from tests.support.rabbitmq import RabbitServer


def main(arguments: list[str] | None = None) -> int:
    """Run the soak and its verification; returns 0 if every promise held."""
    options = _options(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    if any(options.folder.iterdir()):
        sys.stderr.write(f"{options.folder} is not empty; name another directory with --dir\n")
        return 2
    if options.rabbitmq and not RabbitServer.installed():
        sys.stderr.write("No RabbitMQ was found; install Debian's package rabbitmq-server.\n")
        return 2
    if options.small_disk and os.geteuid() != 0:
        sys.stderr.write("--small-disk mounts a file system: run it as root.\n")
        return 2
    scenario = draw_scenario(options)
    stage = Stage(options, scenario.account.api_key)
    try:
        Soak(options, scenario, stage, draw_kills(options)).run()
    finally:
        stage.close()
    return subprocess.run(
        [sys.executable, "-m", "tests.soak.verify", str(options.folder)], check=False
    ).returncode


def _options(arguments: list[str] | None) -> Options:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=50.0, help="callbacks per second, before duplicates")
    parser.add_argument("--kill-every", type=float, default=2.5, help="mean seconds between kills")
    parser.add_argument("--rabbitmq", action="store_true", help="RabbitMQ as the broker")
    parser.add_argument(
        "--replicas", type=int, default=0, help="so many replicas of Redis, all of them waited for"
    )
    parser.add_argument(
        "--small-disk", action="store_true", help="a disk that is full now and then; needs root"
    )
    parser.add_argument("--dir", type=Path, help="where everything is left; empty or new")
    found = parser.parse_args(arguments)
    folder = found.dir or Path("var") / "soak" / time.strftime(f"seed-{found.seed}-%Y%m%d-%H%M%S")
    return Options(
        found.seconds, found.seed, folder.resolve(), found.rate, found.kill_every,
        rabbitmq=found.rabbitmq, replicas=found.replicas, small_disk=found.small_disk,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
