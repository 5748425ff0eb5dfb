"""The soak's proof on several hosts that vanish and come back: lost 0, twice 0, in order, every document whole."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from tests.hosts.deployment import Deployment, on
from tests.hosts.stage import HostStage
from tests.soak.plan import CUT, Kill, Options, draw_scenario
from tests.soak.play import Soak
from tests.soak.verify import Evidence, verify

pytestmark = [pytest.mark.e2e, pytest.mark.hosts, pytest.mark.real_redis, pytest.mark.timeout(400)]

FAULTS = [
    Kill(3.0, "work1", CUT),
    Kill(7.0, "web1", CUT),
    Kill(16.0, "lane", "MOVE"),
    Kill(20.0, "state", CUT),
    Kill(34.0, "work2", CUT),
]


def test_hosts_that_vanish_one_after_the_other_break_no_promise(
    deployment: Deployment, tmp_path: Path
) -> None:
    options = Options(seconds=38, seed=7, folder=tmp_path, rate_per_s=15)
    scenario = draw_scenario(options)
    with closing(HostStage(deployment, options, scenario.account.api_key)) as stage:
        on(deployment.sender, Soak(options, scenario, stage, FAULTS).run)
    evidence = Evidence.read(tmp_path)
    assert verify(evidence).problems == []
    assert len(evidence.kills) == len(FAULTS)
    assert evidence.sent["acked"] > 400
