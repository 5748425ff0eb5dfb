"""Redis behind Sentinel on three hosts: the master's host is cut off, and another takes over within ten seconds."""

from __future__ import annotations

import time

import pytest

from tests.hosts.deployment import WEB_PORT, Deployment
from tests.hosts.quorum import redis_with_sentinel
from tests.hosts.traffic import playing

pytestmark = [pytest.mark.e2e, pytest.mark.hosts, pytest.mark.real_redis, pytest.mark.timeout(300)]

SILENCE_S = 16.0
"""Two seconds until the sentinels agree, some for the election, ten at most for our clients, and a busy machine."""


@pytest.mark.parametrize(
    ("broker", "replicas"),
    [("redis", 2), pytest.param("rabbitmq", 1, marks=pytest.mark.rabbitmq)],
)
def test_a_master_that_is_cut_off_costs_some_seconds_and_no_callback(
    deployment: Deployment, broker: str, replicas: int
) -> None:
    """``replicas``: how many of the two are waited for.

    Sentinel elects the one that has more. So one is enough as long as both are there; two are needed where the master can be
    cut off together with the only one that has a callback. Then callbacks stay in the spool until the third host is back.
    """
    deployment.settings(
        DEEDBOX_REDIS_URL=redis_with_sentinel(deployment, ("state1", "state2", "state3")),
        DEEDBOX_REDIS_WAIT_REPLICAS=str(replicas),
    )
    [master] = [host for host in deployment.network.hosts if host.name == "state1"]
    if broker == "rabbitmq":
        deployment.settings(DEEDBOX_BROKER_URL=deployment.rabbitmq("mq")[1].url)
    for name in ("work1", "work2"):
        deployment.workers(name)
    url = f"http://{deployment.web('web1').address}:{WEB_PORT}/callbacks"

    with playing(deployment, [url], seconds=40, seed=5) as finished:
        time.sleep(6)
        at = time.time()
        master.cut_off()
        time.sleep(28)
        master.reconnect()
        outcomes = finished()

    assert {each.status for each in outcomes.answers} == {200}
    assert max(each.took_s for each in outcomes.answers) < 5
    assert (outcomes.lost, outcomes.twice, outcomes.inversions) == (set(), 0, 0)
    if replicas == 1:
        assert outcomes.longest_silence_s(at, at + 28) < SILENCE_S
