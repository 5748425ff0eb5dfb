"""``docs/backup.md`` as it is written: a copy of a Redis at work, restored into an empty folder, goes on where it was."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from deedbox.shared.core.ordering import OrderingPolicy
from tests.component.workers.rig import Deployment, Journal, action, sent, viewed
from tests.component.workers.server import RedisServer, missing, server_binary, until

pytestmark = pytest.mark.real_redis
PAGE = Path(__file__).parents[3] / "docs" / "backup.md"


class ConfiguredServer(RedisServer):
    """A Redis that has its options in a file, as in production."""

    def __init__(self, binary: Path, folder: Path, appendonly: str) -> None:
        super().__init__(binary, folder)
        self.config = folder / "redis.conf"
        self.config.write_text(
            f'port {self.port}\nbind 127.0.0.1\ndir "{folder}"\nappendonly {appendonly}\nappendfsync always\n'
        )
        self._command = [str(binary), str(self.config)]


def _commands() -> list[list[str]]:
    """Return the commands of the page's shell blocks."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    return [line.partition("#")[0].split() for block in blocks for line in block.strip().splitlines()]


def test_a_copy_restored_as_the_page_says_knows_every_event_and_survives_a_restart(tmp_path: Path) -> None:
    if shutil.which("redis-cli") is None:
        missing("No redis-cli was found; install Debian's package redis-tools.")
    copy, old, new = tmp_path / "deedbox.rdb", tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()

    def run(server: RedisServer, command: list[str]) -> str:
        words = [word.replace("/backup/deedbox.rdb", str(copy)) for word in command[1:]]
        line = ["redis-cli", "-p", str(server.port), *words]
        return subprocess.run(line, capture_output=True, text=True, check=True, timeout=60).stdout

    def deployed(server: RedisServer) -> Deployment:
        return Deployment(server.client(), action(journal, name="crm"), order=OrderingPolicy(hold_s=60))

    back_up, turn_on, keep, look = _commands()
    journal = Journal()
    binary = server_binary()
    server, restored = (
        RedisServer(binary, old, "--repl-diskless-sync-delay", "0"),
        ConfiguredServer(binary, new, appendonly="no"),
    )
    try:
        server.start()
        before = deployed(server)
        before.deliver(sent(), viewed(3, "r2"))  # r2's `sent` is missing
        before.run()
        run(server, back_up)
        server.kill()
        shutil.copy(copy, new / "dump.rdb")
        restored.start()
        run(restored, turn_on)
        run(restored, keep)
        until(lambda: "aof_rewrite_in_progress:0" in run(restored, look), "the append-only file is written")
        assert "aof_last_bgrewrite_status:ok" in run(restored, look)
        assert "appendonly yes" in restored.config.read_text("utf-8")
        restored.kill()
        restored.start()
        after = deployed(restored)
        after.deliver(sent(), sent(2, "r2"))
        after.run()
    finally:
        server.stop()
        restored.stop()
    assert journal.types() == ["sent"]
    assert journal.types("r2") == ["sent", "viewed"]


@pytest.mark.parametrize("appendonly", ["yes", "no"])
def test_a_redis_with_an_append_only_file_passes_a_dump_over(tmp_path: Path, appendonly: str) -> None:
    """The trap that the page warns of: without step 3 the restored Redis is empty."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    binary = server_binary()
    server, restored = RedisServer(binary, source), ConfiguredServer(binary, target, appendonly)
    try:
        server.start()
        server.client().set("deedbox:x", "1")
        server.client().save()
        shutil.copy(source / "dump.rdb", target / "dump.rdb")
        restored.start()
        assert restored.client().dbsize() == (0 if appendonly == "yes" else 1)
    finally:
        server.stop()
        restored.stop()
