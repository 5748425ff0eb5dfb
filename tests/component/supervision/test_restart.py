"""What ends is started again; what must not outlive the supervision does not."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil
import pytest
import redis

from tests.component.supervision.conftest import Start
from tests.component.supervision.rig import Rig, until

pytestmark = pytest.mark.e2e


def test_a_killed_program_is_started_again(start: Start) -> None:
    rig = start({"name": "one"}, {"name": "two"})
    rig.started("one", "two")

    os.kill(rig.pids("one")[0], signal.SIGKILL)

    until(lambda: len(rig.pids("one")) == 2, "it is back")
    assert len(rig.pids("two")) == 1


@pytest.mark.real_redis
def test_a_killed_server_is_back_at_the_same_address_with_its_data(start: Start) -> None:
    rig = start(redis=True)
    with redis.Redis.from_url(rig.url()) as client:
        until(lambda: _set(client, "acknowledged", "yes"), "the server answers")
        before = rig.redis_pid()

        os.kill(before, signal.SIGKILL)

        until(lambda: rig.redis_pid() not in {0, before}, "the server is back")
        until(lambda: _get(client, "acknowledged") == b"yes", "its data is back")


@pytest.mark.real_redis
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_no_child_outlives_a_killed_supervision(start: Start) -> None:
    rig = start({"name": "one"}, redis=True)
    rig.started("one")
    rig.started_redis()
    children = rig.children()
    assert len(children) == 2

    rig.process.kill()
    rig.wait()

    _gone, alive = psutil.wait_procs(children, timeout=15)
    assert alive == []
    assert "one ended" in rig.notes()


@pytest.mark.real_redis
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_a_new_supervision_takes_over_the_data_of_a_killed_one(start: Start) -> None:
    first = start(redis=True)
    with redis.Redis.from_url(first.url()) as client:
        until(lambda: _set(client, "acknowledged", "yes"), "the server answers")
    first.process.kill()
    first.wait()

    second = start(redis=True)

    with redis.Redis.from_url(until(second.redis_pid, "it runs") and second.url()) as client:
        until(lambda: _get(client, "acknowledged") == b"yes", "its data is there")


@pytest.mark.real_redis
def test_a_second_server_never_opens_the_data_of_a_living_one(start: Start, tmp_path: Path) -> None:
    rig = start(redis=True)
    rig.started_redis()
    lock = tmp_path / "data" / "redis" / "lock"
    assert lock.read_text(encoding="ascii").strip() == str(rig.redis_pid())

    second = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "deedbox.shared.runtime.child",
            "--lock",
            lock,
            "--",
            sys.executable,
            "-c",
            "print('opened')",
        ],
        stdout=subprocess.PIPE,
    )
    with pytest.raises(subprocess.TimeoutExpired):
        second.communicate(timeout=1.5)
    rig.process.terminate()

    assert second.communicate(timeout=20)[0] == b"opened\n"
    assert rig.wait() == 0


@pytest.mark.parametrize("output", ["pipe", "file", "socket"])
def test_output_passes_through_whatever_it_leads_to(start: Start, tmp_path: Path, output: str) -> None:
    ours, theirs = socket.socketpair()
    with (tmp_path / "output").open("wb+") as file, ours, theirs:
        target = {"pipe": subprocess.PIPE, "file": file, "socket": theirs.fileno()}[output]
        rig = start({"name": "one", "environment": {"GREETING": "100% \"; # '"}}, output=target)
        rig.started("one")
        rig.process.terminate()
        rig.wait()
        file.seek(0)
        said = rig.process.stdout.read() if rig.process.stdout else file.read() or ours.recv(4096)
        if rig.process.stdout:
            rig.process.stdout.close()
    assert b"one says 100% \"; # '\n" in said


def test_a_quiet_supervision_writes_output_to_files(start: Start, tmp_path: Path) -> None:
    rig = start({"name": "many", "numprocs": 2}, quiet=True, output=subprocess.DEVNULL)
    until(lambda: len(rig.pids("many")) == 2, "both run")
    rig.process.terminate()
    rig.wait()
    for name in ("many-0.log", "many-1.log"):
        assert (tmp_path / "data" / "run" / name).read_text(encoding="utf-8") == "many says nothing\n"


def test_any_character_may_be_in_a_path(start: Start, tmp_path: Path) -> None:
    odd = tmp_path / "My #1 50% ;project 'x'" / "data"
    rig = start({"name": "one"}, data_dir=odd, quiet=True)
    rig.started("one")
    rig.process.terminate()
    assert rig.wait() == 0
    assert (odd / "run" / "one.log").exists()


def test_the_end_of_a_process_names_its_status_or_signal_and_how_often(start: Start) -> None:
    """Law: a crash loop is told with what a person needs to find its cause."""
    rig = start(
        {"name": "crashing", "words": ["--silent", "--exit", "3"]},
        {"name": "killed", "words": ["--silent"]},
        output=subprocess.PIPE,
    )
    rig.started("killed")
    os.kill(rig.pids("killed")[0], signal.SIGKILL)
    rig.says(
        b"exit killed was killed by SIGKILL and is started again in 1 s.",
        b"exit crashing exited with status 3 and is started again in 1 s.",
        b"exit crashing exited with status 3 and is started again in 2 s (2nd time in 1 min).",
    )
    assert rig.ended() == 0


def test_a_terminal_that_stalls_keeps_nothing_from_being_started_again_and_stopped(start: Start) -> None:
    """Law: the supervision waits for no reader of its output."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * 512)
    os.set_blocking(writer, True)
    with os.fdopen(reader, "rb"), os.fdopen(writer, "wb") as full:
        rig = start({"name": "one", "words": ["--silent"]}, output=full)
        rig.started("one")
        for count in (2, 3):
            os.kill(rig.pids("one")[-1], signal.SIGKILL)
            until(partial(_started_times, rig, count), "it is back")
        rig.process.terminate()
        assert rig.wait() == 0
    assert rig.notes()[-1] == "one ended"


def test_few_file_descriptors_are_enough(start: Start) -> None:
    rig = start({"name": "one"}, prefix=("sh", "-c", 'ulimit -n 64 && exec "$@"', "sh"))
    rig.started("one")
    rig.process.terminate()
    assert rig.wait() == 0


def _started_times(rig: Rig, count: int) -> bool:
    return len(rig.pids("one")) == count


def _set(client: redis.Redis, key: str, value: str) -> bool:
    with suppress(redis.RedisError):
        return bool(client.set(key, value))
    return False


def _get(client: redis.Redis, key: str) -> object:
    with suppress(redis.RedisError):
        return client.get(key)
    return None
