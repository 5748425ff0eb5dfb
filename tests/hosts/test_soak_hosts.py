"""The soak's proof on several hosts that vanish, die and are upgraded: lost 0, twice 0, in order, every document whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hosts.__main__ import play
from tests.hosts.faults import ORDER, draw_faults
from tests.hosts.network import demand_namespaces
from tests.soak.plan import UPGRADE, Options
from tests.soak.verify import Evidence, verify

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.hosts,
    pytest.mark.rabbitmq,
    pytest.mark.real_redis,
    pytest.mark.timeout(400),
]


def test_hosts_that_vanish_die_and_are_upgraded_in_turn_break_no_promise(tmp_path: Path) -> None:
    demand_namespaces()
    options = Options(seconds=50, seed=7, folder=tmp_path, rate_per_s=12, rabbitmq=True, replicas=2)
    play(options)
    evidence = Evidence.read(tmp_path)
    assert verify(evidence).problems == []
    assert len(evidence.kills) == len(draw_faults(options))
    assert [kill["target"] for kill in evidence.kills if kill["signal"] == UPGRADE] == list(ORDER)
    assert evidence.sent["acked"] > 400
