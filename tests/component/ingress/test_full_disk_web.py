"""The whole web process on a disk that its own spool fills, through an outage of the broker and out of it again."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from deedbox.ingress.spool.folder import SpoolDir
from deedbox.ingress.spool.usage import Gauge
from deedbox.shared.redis import keys
from tests.component.ingress.conftest import wait_until
from tests.component.ingress.spooling import MortalRedis, left
from tests.component.ingress.test_full_disk import small_disk as small_disk  # noqa: PLC0414 - a fixture
from tests.component.ingress.test_outage import Web

pytestmark = pytest.mark.real_redis


def test_a_web_process_that_filled_its_disk_delivers_everything_it_acknowledged_once_each(
    small_disk: Path, mortal: MortalRedis
) -> None:
    web = Web(small_disk, mortal)
    web.log = small_disk.parent / "log"  # not on the disk that is filled
    web.start()
    try:
        mortal.kill()
        number = 0
        while (found := web.post(number, pad=8000))[0] == 200:
            number += 1
            assert number < 5000
        status, body, headers = found
        assert (status, json.loads(body)["error"]) == (503, "spool_full")
        assert headers is not None
        assert int(headers["Retry-After"]) > 0
        refused = {number, *(n for n in range(10_000, 10_020) if web.post(n, pad=8000)[0] == 503)}
        for _ in range(4):  # of both workers
            ready, said = web.ready()
            assert (ready, said["error"]) == (503, "spool_full")
            assert f"make room on the disk of {small_disk}" in said["detail"]
        mortal.start()
        wait_until(lambda: left(SpoolDir(web.data_dir)) == 0)
        wait_until(lambda: web.ready()[0] == 200)
        arrived = Counter(mortal.numbers())
        assert web.acknowledged - set(arrived) == set()
        assert set(arrived.values()) == {1}
        assert refused - web.acknowledged
        assert not (refused - web.acknowledged) & set(arrived)
        assert Gauge(SpoolDir(web.data_dir)).usage().quarantined == 0
        with mortal.client() as client:
            assert client.zcard(keys.DEAD) == 0
        assert web.post(99_999)[0] == 200
    finally:
        web.stop()
