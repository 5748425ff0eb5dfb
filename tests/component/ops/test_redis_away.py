"""A Redis that does not answer: every command says which, where, and what helps; pages answer soon and show what was seen last."""

from __future__ import annotations

import time

import pytest

from deedbox.shared.redis.embedded import free_port
from tests.component.conftest import Operate

pytestmark = pytest.mark.real_redis

COMMANDS = (
    ("status",),
    ("trace", "r1"),
    ("dead", "list"),
    ("dead", "redrive", "--all", "--yes"),
    ("conflict", "list", "r1"),
    ("erase", "r1", "--yes"),
    ("replay", "r1", "--action", "track_status", "--yes"),
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_names_the_redis_that_does_not_answer(
    operate: Operate, command: tuple[str, ...]
) -> None:
    port = free_port()
    began = time.monotonic()
    answer = operate(*command, DEEDBOX_REDIS_URL=f"redis://:s3cret@127.0.0.1:{port}/0", DEEDBOX_API_KEYS="k")

    assert answer.code == 1
    assert answer.sentence == (
        f"Redis at 127.0.0.1:{port} does not answer (connection refused). Is it running? "
        "`deedbox check` shows details."
    )
    assert "s3cret" not in answer.out + answer.sentence
    assert time.monotonic() - began < 60
