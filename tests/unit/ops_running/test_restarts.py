"""What ended under ``deedbox up`` is recorded, so that ``status`` can say it; Redis may be away meanwhile."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import cast

import fakeredis
import pytest

from deedbox.ops.supervise.programs import Exit, ending
from deedbox.ops.supervise.restarts import KEPT_S, RestartRecorder, of_reply
from deedbox.shared.records.presence import Restart
from deedbox.shared.redis import keys


@pytest.mark.parametrize(
    ("status", "words"),
    [(0, "exited with status 0"), (3, "exited with status 3"), (-9, "was killed by SIGKILL")],
)
def test_an_end_names_its_status_or_signal(status: int, words: str) -> None:
    assert ending(status) == words


def test_a_signal_without_a_name_is_its_number() -> None:
    assert ending(-(signal.SIGRTMIN + 1)) == f"was killed by signal {signal.SIGRTMIN + 1}"


@pytest.mark.parametrize(("recent", "word"), [(2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (21, "21st")])
def test_an_end_says_how_often_and_where_it_says_why(recent: int, word: str) -> None:
    end = Exit("redis", "exited with status 1", 0.0, recent, log=Path("/var/redis.log"))
    expected = (
        f"redis exited with status 1 and was started again ({word} time in 1 min); details: /var/redis.log."
    )
    assert str(end) == expected


def _read(redis: fakeredis.FakeRedis) -> list[Restart]:
    seconds, _ = cast("tuple[int, int]", redis.time())
    return of_reply(cast("dict[bytes, bytes]", redis.hgetall(keys.RESTARTS)), float(seconds))


def test_an_end_is_recorded_with_redis_s_clock_and_does_not_stay() -> None:
    redis = fakeredis.FakeRedis()
    recorder = RestartRecorder(redis, "web-1")
    recorder.note(Exit("bridge", "exited with status 1", 2.0, 3))
    recorder.write()
    (found,) = _read(redis)
    assert (found.host, found.process, found.how, found.count) == (
        "web-1",
        "bridge",
        "exited with status 1",
        3,
    )
    assert 0 < cast("int", redis.ttl(keys.RESTARTS)) <= KEPT_S
    assert of_reply(cast("dict[bytes, bytes]", redis.hgetall(keys.RESTARTS)), found.at + KEPT_S + 1) == []


def test_an_end_is_recorded_once_redis_is_back() -> None:
    server = fakeredis.FakeServer()
    redis = fakeredis.FakeRedis(server=server)
    recorder = RestartRecorder(redis, "web-1")
    server.connected = False
    recorder.note(Exit("redis", "was killed by SIGKILL", 1.0))
    recorder.write()
    server.connected = True
    recorder.write()
    assert [each.process for each in _read(redis)] == ["redis"]


@pytest.mark.parametrize("stored", [b"", b"[]", b"{}", b"\xff", b'{"host": 1}'])
def test_an_unreadable_record_is_left_out(stored: bytes) -> None:
    assert of_reply({b"x": stored}, 0.0) == []
