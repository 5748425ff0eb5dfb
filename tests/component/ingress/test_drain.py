"""Draining: oldest first, nothing lost whatever stops it, and nothing that wedges it."""

from __future__ import annotations

import json
import multiprocessing
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from deedbox.ingress.spool import quarantine
from deedbox.ingress.spool.drain import Drainer
from deedbox.ingress.spool.folder import SpoolDir
from deedbox.ingress.spool.frames import HEAD_BYTES
from deedbox.ingress.spool.usage import Reporter
from deedbox.ingress.spool.writer import Spool
from deedbox.shared.broker.message import decode_kombu
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.reasons import DeathReason
from deedbox.shared.redis import keys
from deedbox.shared.settings import Settings
from tests.component.ingress.conftest import Server
from tests.component.ingress.spooling import (
    FRAME_BYTES,
    GIB,
    MortalRedis,
    Obedient,
    number_of,
    numbered,
    spooled,
)
from tests.support.brokers import broker_at


def letters(folder: SpoolDir) -> list[dict[str, object]]:
    return [json.loads(path.read_bytes().partition(b"\n")[0]) for path in quarantine.waiting(folder)]


def test_older_segments_go_first(tmp_path: Path) -> None:
    for first in (0, 5, 10):
        spooled(tmp_path, range(first, first + 5), segment_bytes=3 * FRAME_BYTES)
    broker = Obedient()
    Drainer(SpoolDir(tmp_path), broker).drain()
    assert broker.taken == list(range(15))


def test_a_broker_that_dies_meanwhile_costs_repeats_and_nothing_else(tmp_path: Path) -> None:
    folder = spooled(tmp_path, range(40), segment_bytes=15 * FRAME_BYTES)
    taken: list[int] = []
    for alive_for in (0, 7, 3, 11, 1, 100, 100):
        broker = Obedient(dies_after=alive_for)
        Drainer(folder, broker, batch=4).drain()
        taken += broker.taken
    assert set(taken) == set(range(40))
    assert folder.segments() == []


def test_what_was_handed_on_is_not_handed_on_again_after_a_restart(tmp_path: Path) -> None:
    folder = spooled(tmp_path, range(20))
    assert Drainer(folder, Obedient(dies_after=10), batch=5).drain().trouble is not None
    broker = Obedient()
    Drainer(folder, broker, batch=5).drain()
    assert broker.taken == list(range(10, 20))


@pytest.mark.parametrize("cut", [1, 20, FRAME_BYTES - 1])
def test_a_torn_last_frame_is_moved_aside_and_the_rest_drained(tmp_path: Path, cut: int) -> None:
    folder = spooled(tmp_path, range(4))
    segment = folder.segments()[0]
    content = segment.read_bytes()
    segment.write_bytes(content[:-cut])
    broker = Obedient()
    found = Drainer(folder, broker).drain()
    assert (broker.taken, found.set_aside, folder.segments()) == ([0, 1, 2], 1, [])
    assert letters(folder)[0]["reason"] == DeathReason.SPOOL_DAMAGED
    kept = next(quarantine.waiting(folder)).read_bytes().partition(b"\n")[2]
    assert kept == content[HEAD_BYTES + 3 * FRAME_BYTES : -cut]


def test_zeros_behind_the_last_frame_are_no_callback(tmp_path: Path) -> None:
    """Some file systems show them after a power cut."""
    folder = spooled(tmp_path, range(2))
    segment = folder.segments()[0]
    segment.write_bytes(segment.read_bytes() + bytes(4096))
    broker = Obedient()
    Drainer(folder, broker).drain()
    assert (broker.taken, len(letters(folder))) == ([0, 1], 1)


@pytest.mark.parametrize("size_bytes", [0, 7, HEAD_BYTES - 1])
def test_a_segment_without_its_head_wedges_nothing(tmp_path: Path, size_bytes: int) -> None:
    folder = spooled(tmp_path, [1])
    segment = folder.segments()[0]
    segment.write_bytes(segment.read_bytes()[:size_bytes])
    spooled(tmp_path, [2])
    broker = Obedient()
    Drainer(folder, broker).drain()
    assert (broker.taken, folder.segments()) == ([2], [])
    assert len(letters(folder)) == (1 if size_bytes else 0)


def test_damage_in_the_middle_is_set_aside_once_and_the_rest_drained(tmp_path: Path) -> None:
    folder = spooled(tmp_path, range(5))
    segment = folder.segments()[0]
    content = bytearray(segment.read_bytes())
    content[HEAD_BYTES + 2 * FRAME_BYTES + 30] ^= 1
    segment.write_bytes(content)
    for _ in range(3):
        Drainer(folder, Obedient(down=True)).drain()
    broker = Obedient()
    Drainer(folder, broker).drain()
    assert (broker.taken, len(letters(folder))) == ([0, 1, 3, 4], 1)


@pytest.mark.parametrize("bad", [0, 7, 19])
def test_a_callback_that_the_broker_never_takes_does_not_wedge_the_others(tmp_path: Path, bad: int) -> None:
    folder = spooled(tmp_path, range(20), segment_bytes=30 * FRAME_BYTES)
    spooled(tmp_path, [100])
    broker = Obedient(refuses={bad})
    drainer = Drainer(folder, broker, batch=6)
    for _ in range(6):
        drainer.drain()
        spooled(tmp_path, [100])
    assert set(broker.taken) == {*range(20), 100} - {bad}
    assert [letter["reason"] for letter in letters(folder)] == [DeathReason.BROKER_REFUSED]
    content = next(quarantine.waiting(folder)).read_bytes().partition(b"\n")[2]
    assert number_of(Envelope.unpack(content)) == bad


def test_a_broker_that_is_down_is_no_reason_for_quarantine(tmp_path: Path) -> None:
    folder = spooled(tmp_path, range(5), segment_bytes=2 * FRAME_BYTES)
    drainer = Drainer(folder, Obedient(down=True))
    for _ in range(10):
        assert drainer.drain().trouble is not None
    assert letters(folder) == []


def _drain_apart(data_dir: Path, url: str) -> None:
    publisher = broker_at(url)
    Drainer(SpoolDir(data_dir), publisher, batch=7).drain()
    publisher.close()


@pytest.fixture
def private_redis(tmp_path_factory: pytest.TempPathFactory, redis_broker: Server) -> Iterator[MortalRedis]:
    assert redis_broker.url  # skips without a server
    found = MortalRedis(tmp_path_factory.mktemp("redis"), options=("--proto-max-bulk-len", "1mb"))
    found.start()
    yield found
    found.stop()


@pytest.mark.real_redis
def test_two_processes_that_drain_at_once_lose_nothing(tmp_path: Path, private_redis: MortalRedis) -> None:
    for first in range(0, 300, 100):
        spooled(tmp_path, range(first, first + 100), segment_bytes=10 * FRAME_BYTES)
    context = multiprocessing.get_context("spawn")
    drainers = [context.Process(target=_drain_apart, args=(tmp_path, private_redis.url)) for _ in range(2)]
    for drainer in drainers:
        drainer.start()
    for drainer in drainers:
        drainer.join(60)
        assert drainer.exitcode == 0
    assert Counter(private_redis.numbers()) == Counter(range(300))
    assert SpoolDir(tmp_path).segments() == []


@pytest.mark.real_redis
def test_a_callback_too_large_for_redis_becomes_a_dead_letter(
    tmp_path: Path, private_redis: MortalRedis
) -> None:
    folder = spooled(tmp_path, [])
    large = numbered(1, size_bytes=1_500_000)
    spool = Spool(folder, GIB)
    for envelope in (numbered(0), large, numbered(2)):
        spool.append(envelope, 5)
    spool.close()
    publisher = broker_at(private_redis.url)
    drainer = Drainer(folder, publisher)
    found = drainer.drain()
    publisher.close()
    assert (found.set_aside, found.trouble) == (1, None)
    assert set(private_redis.numbers()) == {0, 2}
    with private_redis.client() as client:
        client.config_set("proto-max-bulk-len", "512mb")
        reporter(tmp_path, private_redis).report()
        letter = client.hgetall(f"{keys.DEAD}:1")
        assert client.zcard(keys.DEAD) == 1
    assert letter[b"reason"] == b"broker_refused"
    headers, body = decode_kombu(letter[b"raw"])
    assert Envelope.from_headers(headers, body) == large
    assert letters(folder) == []


def reporter(data_dir: Path, server: MortalRedis) -> Reporter:
    settings = Settings.load({"DEEDBOX_REDIS_URL": server.url, "DEEDBOX_DATA_DIR": str(data_dir)})
    return Reporter(settings, SpoolDir(data_dir))


@pytest.mark.real_redis
def test_redis_knows_what_the_host_has_spooled_and_forgets_it_when_drained(
    tmp_path: Path, private_redis: MortalRedis
) -> None:
    folder = spooled(tmp_path, [7, 5])
    mine = reporter(tmp_path, private_redis)
    mine.report()
    with private_redis.client() as client:
        entry = json.loads(client.hget(keys.SPOOLS, folder.host_id()) or "")
        assert {name: entry[name] for name in ("bytes", "frames", "oldest_received_at")} == {
            "bytes": 2 * FRAME_BYTES,
            "frames": 2,
            "oldest_received_at": 1005.0,
        }
        assert entry["seen_at"] > 0
        Drainer(folder, Obedient()).drain()
        mine.report(at_once=True)
        assert client.hgetall(keys.SPOOLS) == {}


@pytest.mark.real_redis
def test_an_entry_of_a_process_that_died_is_removed_by_the_next(
    tmp_path: Path, private_redis: MortalRedis
) -> None:
    folder = spooled(tmp_path, [1])
    reporter(tmp_path, private_redis).report()
    Drainer(folder, Obedient()).drain()
    reporter(tmp_path, private_redis).report()
    with private_redis.client() as client:
        assert client.hgetall(keys.SPOOLS) == {}
