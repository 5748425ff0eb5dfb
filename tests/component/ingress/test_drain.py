"""Draining: oldest first, nothing lost whatever stops it, and nothing that wedges it."""

from __future__ import annotations

import multiprocessing
import socket
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from deedbox.ingress.spool.database import Database
from deedbox.ingress.spool.drain import Drainer
from deedbox.ingress.spool.folder import SpoolDir
from deedbox.ingress.spool.quarantine import Quarantine, QuarantinedCallback
from deedbox.ingress.spool.usage import Reporter
from deedbox.ingress.spool.writer import Spool
from deedbox.shared.broker.message import decode_kombu
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.reasons import DeathReason
from deedbox.shared.records import spool_mark
from deedbox.shared.redis import keys
from deedbox.shared.settings import Settings
from tests.component.ingress.conftest import Server
from tests.component.ingress.spooling import (
    ENTRY_BYTES,
    GIB,
    MortalRedis,
    Obedient,
    left,
    numbered,
    spooled,
)
from tests.support.brokers import broker_at


def letters(folder: SpoolDir) -> list[QuarantinedCallback]:
    quarantine = Quarantine(folder)
    try:
        return quarantine.all()
    finally:
        quarantine.close()


def test_what_was_spooled_first_goes_first_whichever_process_wrote_it(tmp_path: Path) -> None:
    for first in (0, 5, 10):
        spooled(tmp_path, range(first, first + 5))
    broker = Obedient()
    Drainer(SpoolDir(tmp_path), broker, batch=4).drain()
    assert broker.taken == list(range(15))


def test_a_broker_that_dies_meanwhile_costs_repeats_and_nothing_else(tmp_path: Path) -> None:
    folder = spooled(tmp_path, range(40))
    taken: list[int] = []
    for alive_for in (0, 7, 3, 11, 1, 100, 100):
        broker = Obedient(dies_after=alive_for)
        Drainer(folder, broker, batch=4).drain()
        taken += broker.taken
    assert set(taken) == set(range(40))
    assert left(folder) == 0


def test_what_was_handed_on_is_not_handed_on_again_after_a_restart(tmp_path: Path) -> None:
    folder = spooled(tmp_path, range(20))
    assert Drainer(folder, Obedient(dies_after=10), batch=5).drain().trouble is not None
    broker = Obedient()
    Drainer(folder, broker, batch=5).drain()
    assert broker.taken == list(range(10, 20))


def test_a_callback_spooled_while_the_spool_is_drained_is_not_deleted_with_the_others(tmp_path: Path) -> None:
    """Numbers are never used twice: what a slow drain deletes is what it has published."""
    folder = spooled(tmp_path, range(3))
    spool = Spool(folder, GIB)

    class Slow(Obedient):
        def publish_many(self, envelopes: Sequence[Envelope]) -> None:
            if not self.taken:
                with Database(folder).writing() as connection:  # as another drain that was faster
                    connection.execute("DELETE FROM callbacks")
                spool.append(numbered(7), 5)
            super().publish_many(envelopes)

    broker = Slow()
    Drainer(folder, broker).drain()
    spool.close()
    assert broker.taken == [0, 1, 2, 7]


def test_a_callback_that_is_not_as_it_was_written_is_set_aside_once_and_the_rest_drained(
    tmp_path: Path,
) -> None:
    folder = spooled(tmp_path, range(5))
    content = bytearray(folder.database().read_bytes())
    at = content.index(b'"n": 2')
    content[at + 5] ^= 1
    folder.database().write_bytes(content)
    for _ in range(3):
        Drainer(folder, Obedient(down=True)).drain()
    broker = Obedient()
    Drainer(folder, broker).drain()
    assert broker.taken == [0, 1, 3, 4]
    assert [each.reason for each in letters(folder)] == [DeathReason.SPOOL_DAMAGED]


@pytest.mark.parametrize("bad", [0, 7, 19])
def test_a_callback_that_the_broker_never_takes_does_not_wedge_the_others(tmp_path: Path, bad: int) -> None:
    folder = spooled(tmp_path, [*range(20), 100])
    broker = Obedient(refuses={bad})
    drainer = Drainer(folder, broker, batch=6)
    for _ in range(6):
        drainer.drain()
        spooled(tmp_path, [100])
    assert set(broker.taken) == {*range(20), 100} - {bad}
    [letter] = letters(folder)
    assert letter.reason == DeathReason.BROKER_REFUSED
    assert left(folder) == 1  # the one that came after the last drain


def test_what_was_set_aside_is_published_again_or_removed_as_a_person_says(tmp_path: Path) -> None:
    folder = spooled(tmp_path, range(4))
    broker = Obedient(refuses={1, 2})
    drainer = Drainer(folder, broker)
    for _ in range(6):
        drainer.drain()
    quarantine = Quarantine(folder)
    again, gone = quarantine.all()
    assert quarantine.redrive(again.id)
    assert quarantine.discard(gone.id)
    assert not quarantine.redrive(gone.id)
    assert not quarantine.discard(gone.id)
    broker.refuses.clear()
    broker.taken.clear()
    drainer.drain()
    assert (broker.taken, quarantine.all(), left(folder)) == ([1], [], 0)
    quarantine.close()


def test_a_broker_that_is_down_is_no_reason_for_quarantine(tmp_path: Path) -> None:
    folder = spooled(tmp_path, range(5))
    drainer = Drainer(folder, Obedient(down=True))
    for _ in range(10):
        assert drainer.drain().trouble is not None
    assert letters(folder) == []


def _drain_apart(data_dir: Path, url: str) -> None:
    publisher = broker_at(url)
    while left(SpoolDir(data_dir)):
        Drainer(SpoolDir(data_dir), publisher, batch=7).drain(time.monotonic() + 0.01)
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
    spooled(tmp_path, range(300))
    context = multiprocessing.get_context("spawn")
    drainers = [context.Process(target=_drain_apart, args=(tmp_path, private_redis.url)) for _ in range(2)]
    for drainer in drainers:
        drainer.start()
    for drainer in drainers:
        drainer.join(60)
        assert drainer.exitcode == 0
    assert Counter(private_redis.numbers()) == Counter(range(300))
    assert left(SpoolDir(tmp_path)) == 0


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
        mark = spool_mark.load(client.hget(keys.SPOOLS, folder.host_id()) or b"")
        assert mark
        assert (mark.size_bytes, mark.callbacks, mark.oldest_received_at) == (2 * ENTRY_BYTES, 2, 1005.0)
        assert (mark.host, mark.limit_bytes) == (socket.gethostname(), 1 << 30)
        assert mark.lives(client.time()[0])
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
