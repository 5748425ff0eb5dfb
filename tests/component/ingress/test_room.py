"""A Redis that fills up: callbacks wait on the disk while its workers still have room to work."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from deedbox.ingress.publish.broker_memory import Room
from deedbox.ingress.publish.handover import Handover
from deedbox.ingress.spool.drain import Drainer
from deedbox.ingress.spool.folder import SpoolDir
from deedbox.ingress.spool.writer import Spool
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.settings import Settings
from tests.component.ingress.conftest import redis_binary, wait_until
from tests.component.ingress.spooling import MortalRedis, left, number_of, numbered, spooled
from tests.component.ingress.test_outage import Web, drain
from tests.component.workers.server import missing
from tests.support.brokers import broker_at

pytestmark = pytest.mark.real_redis

MAXMEMORY = 32 * 1024 * 1024


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[MortalRedis]:
    if redis_binary() is None:
        missing("No Redis server was found; install redis-server.")
    (tmp_path / "redis").mkdir()
    found = MortalRedis(
        tmp_path / "redis", options=("--maxmemory", str(MAXMEMORY), "--maxmemory-policy", "noeviction")
    )
    found.start()
    yield found
    found.stop()


def fill(broker: MortalRedis, share: float) -> None:
    """Put junk into the server until so much of its memory is in use."""
    with broker.client() as client:
        while int(client.info("memory")["used_memory"]) < share * MAXMEMORY:
            client.append("junk", "x" * 200_000)


def empty(broker: MortalRedis) -> None:
    with broker.client() as client:
        client.delete("junk")


class Told:
    """A broker that says how full it is."""

    def __init__(self, *shares: float | None) -> None:
        self._shares = iter(shares)

    def fullness(self) -> float | None:
        return next(self._shares)


def test_a_redis_tells_how_full_it_is_and_one_without_a_limit_does_not(broker: MortalRedis) -> None:
    publisher = broker_at(broker.url)
    fill(broker, 0.5)
    share = publisher.fullness()
    assert share is not None
    assert 0.5 <= share < 0.6
    with broker.client() as client:
        client.config_set("maxmemory", 0)
    assert publisher.fullness() is None
    publisher.close()


def test_a_room_changes_its_mind_at_two_different_marks() -> None:
    clock = iter(range(1000))
    room = Room(Told(0.5, 0.75, 0.85, 0.75, 0.5, None), monotonic=lambda: float(next(clock)))
    assert [room.look() for _ in range(6)] == [False, False, True, True, False, False]


def test_a_broker_that_cannot_tell_is_never_full() -> None:
    assert not Room(object()).look()


def test_draining_pauses_before_the_redis_is_full_and_goes_on_when_there_is_room(
    tmp_path: Path, broker: MortalRedis
) -> None:
    """What was drained counts too: some megabytes more, and the room is gone in the middle of the drain."""
    folder = spooled(tmp_path, [])
    for first in range(0, 3000, 1000):
        spooled_large(folder, range(first, first + 1000))
    fill(broker, 0.6)
    publisher = broker_at(broker.url)
    drainer = Drainer(folder, publisher, batch=50, paused=Room(publisher, monotonic=counting()).look)
    found = drainer.drain()
    assert 0 < found.published < 3000
    assert found.trouble is None
    share = publisher.fullness()
    assert share is not None
    assert share < 0.9
    empty(broker)
    with broker.client() as client:
        client.config_set("maxmemory", 0)
    drainer.drain()
    publisher.close()
    assert set(broker.numbers()) == set(range(3000))


def counting() -> Any:
    """Return a clock in which every look is long after the last."""
    ticks = iter(range(1_000_000))
    return lambda: float(next(ticks))


def spooled_large(folder: SpoolDir, numbers: range) -> None:
    spool = Spool(folder, 1 << 30)
    for number in numbers:
        spool.append(numbered(number, 3000), 5)
    spool.close()


class AlmostFull:
    """A broker that is well, and almost full."""

    def __init__(self) -> None:
        self.taken: list[int] = []

    def fullness(self) -> float:
        return 0.9

    def ping(self) -> None:
        """Answer."""

    def publish(self, envelope: Envelope) -> None:
        self.publish_many([envelope])

    def publish_many(self, envelopes: Sequence[Envelope]) -> None:
        self.taken.extend(number_of(each) for each in envelopes)


def test_an_almost_full_broker_is_better_than_none_when_the_spool_is_full_too(tmp_path: Path) -> None:
    broker = AlmostFull()
    settings = Settings.load({"DEEDBOX_DATA_DIR": str(tmp_path), "DEEDBOX_SPOOL_MAX_BYTES": "65536"})
    handover = Handover(settings, broker)
    handover.start()
    assert handover.store(numbered(0)).spooled or broker.taken == [0]  # a first look may not have ended yet
    wait_until(lambda: handover.broker_warning() is not None)
    assert handover.store(numbered(1, 50_000)).spooled
    assert not handover.store(numbered(2, 50_000)).spooled
    assert broker.taken[-1] == 2
    assert (
        1 not in broker.taken
    )  # it stays in the spool: nothing is drained into a broker that is almost full
    handover.close()


def test_the_drain_command_says_why_it_stops_at_an_almost_full_redis(
    tmp_path: Path, broker: MortalRedis
) -> None:
    spooled(tmp_path / "var", range(5))
    fill(broker, 0.85)
    web = Web(tmp_path, broker)
    done = drain(web)
    assert done.returncode == 1
    document = json.loads(done.stdout)
    assert "almost full" in document["drained"]["trouble"]
    assert (document["left"]["callbacks"], broker.numbers()) == (5, [])


def test_callbacks_are_acknowledged_from_the_spool_while_redis_is_almost_full_and_drained_when_it_is_not(
    tmp_path: Path, broker: MortalRedis
) -> None:
    fill(broker, 0.85)
    web = Web(tmp_path, broker)
    web.start()
    try:
        wait_until(lambda: "almost full" in web.ready()[1].get("warning", ""))
        assert web.ready()[0] == 200
        wait_until(lambda: web.log.read_text(encoding="utf-8").count("room.full") == 2)  # both workers
        before = len(broker.numbers())
        for number in range(40):
            web.post(number)
        assert len(web.acknowledged) == 40
        assert len(broker.numbers()) == before
        assert left(SpoolDir(web.data_dir)) == 40

        empty(broker)
        wait_until(lambda: left(SpoolDir(web.data_dir)) == 0)
        wait_until(lambda: "warning" not in web.ready()[1])
        web.post(40)
        assert set(Counter(broker.numbers())) == web.acknowledged == set(range(41))
    finally:
        web.kill()
