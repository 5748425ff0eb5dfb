"""``deedbox listen`` as a person runs it: a real ops process there, a real handler here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis

from deedbox.shared.redis.embedded import free_port
from deedbox.shared.webhook_message import headers_of
from tests.component.destinations.conftest import KEY, SECRET, Webhooks, hooks
from tests.component.ops_web.conftest import READER, TOKEN, Ops, running_ops
from tests.component.workers.rig import Deployment, P, action, sent, viewed
from tests.component.workers.server import RedisServer, until

__all__ = ["hooks"]

pytestmark = pytest.mark.real_redis


@pytest.fixture(scope="module")
def there(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ops]:
    tokens = json.dumps({"reader": {"token": READER, "scopes": ["read"]}})
    with running_ops(redis_server.url, tmp_path_factory.mktemp("there"), DEEDBOX_OPS_TOKENS=tokens) as ops:
        yield ops


def command(ops: Ops, to: str, *more: str) -> list[str]:
    return [
        str(Path(sys.executable).with_name("deedbox")), "listen", "--url", ops.url, "--to", to, "--token", TOKEN, "--secret", SECRET,
        *more,
    ]  # fmt: skip


@contextmanager
def listening(folder: Path, ops: Ops, to: str, *more: str) -> Iterator[Path]:
    """Run the command in a folder; yields the file with what it prints."""
    said = folder / "said.txt"
    with said.open("ab") as out:
        process = subprocess.Popen(
            command(ops, to, *more),
            cwd=folder,
            stdout=out,
            stderr=out,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    try:
        until(lambda: b"Forwarding" in said.read_bytes(), "it listens")
        yield said
        assert process.poll() is None, said.read_text("utf-8")
    finally:
        process.terminate()
        process.wait(20)


def arrive(state: Redis, *bodies: bytes) -> None:
    made = Deployment(state, action(lambda _event, _context: None))
    made.deliver(*bodies)
    made.run()


def test_it_forwards_what_happens_there_and_goes_on_where_it_was(
    state: Redis, there: Ops, hooks: Webhooks, tmp_path: Path
) -> None:
    arrive(state, sent())
    with listening(tmp_path, there, hooks.url, "--since", "1h"):
        until(lambda: hooks.types() == ["sent"], "what was there came")
        arrive(state, viewed(1))
        until(lambda: hooks.types() == ["sent", "viewed"], "what happened meanwhile came")
    arrive(state, viewed(2))
    with listening(tmp_path, there, hooks.url):
        until(lambda: len(hooks.types()) == 3, "what happened while it was off came")
    assert hooks.types() == ["sent", "viewed", "viewed"]
    message = hooks.taken[0].message
    assert message["data"]["payload"]["signature_request"]["signature_request_id"] == "r1"
    assert "event_hash" not in message["data"]["payload"]["event"]
    post = hooks.taken[0]
    expected = headers_of(KEY, post.headers["webhook-id"], int(post.headers["webhook-timestamp"]), post.body)
    assert expected.items() <= post.headers.items()


def test_while_the_handler_here_is_down_events_wait(
    state: Redis, there: Ops, hooks: Webhooks, tmp_path: Path
) -> None:
    port = free_port()
    arrive(state, sent())
    with listening(tmp_path, there, f"http://127.0.0.1:{port}/", "--since", "1h") as said:
        until(lambda: b"does not answer" in said.read_bytes(), "it says so")
        waiting = (tmp_path / ".deedbox-listen.json").exists()
    assert not waiting
    with listening(tmp_path, there, hooks.url, "--since", "1h"):
        until(lambda: hooks.types() == ["sent"], "it came")


def test_types_choose_and_an_answer_that_is_no_2xx_is_printed(
    state: Redis, there: Ops, hooks: Webhooks, tmp_path: Path
) -> None:
    hooks.answer = lambda _post: (500, {})
    arrive(state, sent(), viewed(1))
    with listening(tmp_path, there, hooks.url, "--since", "1h", "--type", P + "v*") as said:
        until(lambda: b"500  signature_request_viewed" in said.read_bytes(), "the answer is told")
    assert [each.message["type"] for each in hooks.posts] == [P + "viewed"]


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (["--token", "wrong-token-0123456789"], "does not accept the token"),
        (["--token", READER], "documents"),
        (["--url", "http://deedbox.example.com"], "https://"),
        (["--since", "yesterday"], "--since"),
        (["--secret", "abc"], "--secret"),
        (["--to", "localhost:3000"], "--to"),
    ],
)
def test_what_a_person_can_correct_is_one_sentence(
    there: Ops, tmp_path: Path, more: list[str], named: str
) -> None:
    done = subprocess.run(
        command(there, "http://127.0.0.1:1/", *more),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert named in done.stderr
    assert "Traceback" not in done.stderr
