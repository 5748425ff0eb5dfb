"""``python -m tests.hosts --seconds 600 --seed 1``: the soak on several hosts, which vanish, die and are upgraded in turn. Needs root."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from tests.hosts.deployment import Deployment, on
from tests.hosts.faults import draw_faults
from tests.hosts.network import demand_namespaces
from tests.hosts.stage import HostStage
from tests.soak import verify
from tests.soak.plan import Options, draw_scenario
from tests.soak.play import Soak


def play(options: Options) -> None:
    """Play, and leave the evidence in the options' folder."""
    scenario = draw_scenario(options)
    hosts = options.folder / "hosts"
    hosts.mkdir(parents=True)
    with (
        closing(Deployment(hosts)) as deployment,
        closing(HostStage(deployment, options, scenario.account.api_key)) as stage,
    ):
        on(deployment.sender, Soak(options, scenario, stage, draw_faults(options)).run)


def main(arguments: Sequence[str] | None = None) -> int:
    """Play and verify; returns 0 if every promise held."""
    parser = argparse.ArgumentParser(prog="python -m tests.hosts", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=15.0, help="callbacks per second, before duplicates")
    parser.add_argument("--dir", type=Path, help="where everything is left; new")
    found = parser.parse_args(arguments)
    folder = found.dir or Path("var") / "soak-hosts" / time.strftime(f"seed-{found.seed}-%Y%m%d-%H%M%S")
    demand_namespaces()
    play(Options(found.seconds, found.seed, folder.resolve(), found.rate, rabbitmq=True, replicas=2))
    return verify.main([str(folder)])


if __name__ == "__main__":
    sys.exit(main())
