"""Two web hosts behind the shipped nginx: whatever happens to one of them, the sender hears 200."""

from __future__ import annotations

import time

import pytest

from tests.hosts.deployment import PROXY_PORT, Deployment
from tests.hosts.traffic import playing

pytestmark = [pytest.mark.e2e, pytest.mark.hosts, pytest.mark.real_redis, pytest.mark.timeout(240)]


def test_web_hosts_that_restart_in_turn_and_one_that_is_cut_off_cost_no_answer(on_redis: Deployment) -> None:
    webs = [on_redis.web("web1"), on_redis.web("web2")]
    on_redis.workers("work1")
    proxy = on_redis.proxy(webs)

    with playing(
        on_redis, [f"http://{proxy.address}:{PROXY_PORT}/callbacks"], seconds=18, seed=1
    ) as finished:
        time.sleep(2)
        for name in ("web1 web", "web2 web"):
            on_redis.kept[name].terminate()
            time.sleep(4)
        webs[0].cut_off()
        time.sleep(5)
        webs[0].reconnect()
        outcomes = finished()

    assert [on_redis.kept[name].starts for name in ("web1 web", "web2 web")] == [2, 2]
    assert [each for each in outcomes.answers if each.status != 200] == []
    # A request that is with a host at the moment when it vanishes is passed on after three seconds.
    slow = sorted(each.took_s for each in outcomes.answers if each.took_s > 2)
    assert len(slow) <= 8, slow
    assert max(slow, default=0) < 10
    assert (outcomes.lost, outcomes.twice, outcomes.inversions) == (set(), 0, 0)
