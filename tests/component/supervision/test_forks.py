"""A program that is forked from the fork server is a program like any other, and shares its memory with the others."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from deedbox.ops.supervise.fork_client import MODULES
from tests.component.supervision.conftest import Start
from tests.component.supervision.rig import FORKED, Rig, until
from tests.support.process_memory import holds

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux hands a fork on to another parent"),
]


@pytest.fixture
def forked(start: Start) -> Start:
    """Return a function that starts a rig whose programs are forked."""

    def begin(*programs: dict[str, object], **extra: object) -> Rig:
        return start(*programs, forked=True, **extra)

    return begin


def server_of(rig: Rig) -> psutil.Process:
    """Return the fork server of a rig."""
    found: psutil.Process = until(
        lambda: next((each for each in rig.children() if "fork_server" in " ".join(each.cmdline())), None),
        "it runs",
    )
    return found


def test_a_fork_is_a_child_with_its_own_group_name_and_end(forked: Start) -> None:
    rig = forked(
        {"name": "crashing", "words": ["--exit", "3"]},
        {"name": "killed", "words": ["--silent"]},
        output=subprocess.PIPE,
    )
    rig.started("killed")
    program = psutil.Process(rig.pids("killed")[0])
    assert program.ppid() == rig.process.pid
    assert os.getpgid(program.pid) == program.pid
    assert [word for word in program.cmdline() if word] == [sys.executable, "-m", *FORKED, str(rig.journal), "killed", "--silent"]  # fmt: skip
    assert program.exe() == server_of(rig).exe()

    program.kill()

    rig.says(
        b"crashing says nothing",
        b"exit killed was killed by SIGKILL and is started again in 1 s.",
        b"exit crashing exited with status 3 and is started again in 1 s.",
        b"exit crashing exited with status 3 and is started again in 2 s (2nd time in 1 min).",
    )
    assert rig.ended() == 0


def test_forks_share_the_memory_of_what_the_fork_server_imported(forked: Start) -> None:
    """Law: what all import is there once. An interpreter that imports as much has it for itself."""
    rig = forked({"name": "one"}, {"name": "two"})
    rig.started("one", "two")
    for name in ("one", "two"):
        memory = psutil.Process(rig.pids(name)[0]).memory_full_info()
        assert memory.pss < memory.rss / 2


def test_a_fork_runs_what_the_fork_server_has_imported(forked: Start) -> None:
    """Law: it reads and executes no module once more, for that writes to the memory that forks share."""
    rig = forked({"name": "one", "words": ["--importer"]})
    until(lambda: f"one was imported by {server_of(rig).pid}" in rig.notes(), "it has said so")


ACTIONS = """
import sys
from pathlib import Path
from deedbox import action

Path("imported").write_text(str("deedbox.ingress.server" in sys.modules))
print("hello from my module")

@action("*", lane="crm")
def write_down(event, context): ...
"""

ASKS = """
import os
from deedbox.ops.supervise.fork_client import ForkServer
from deedbox.ops.supervise.processes import learn_lanes
from deedbox.shared.core.errors import SettingsError

with ForkServer(os.environ) as forks:
    print(learn_lanes(os.environ, forks))
    try:
        learn_lanes({**os.environ, "DEEDBOX_ACTIONS": "elsewhere"}, forks)
    except SettingsError as error:
        print(error)
"""


def test_the_lanes_are_learnt_by_a_fork(tmp_path: Path) -> None:
    """Law: the start of `up` waits for one interpreter that imports everything, not for two."""
    (tmp_path / "ours.py").write_text(ACTIONS, encoding="utf-8")
    environment = {**os.environ, "DEEDBOX_API_KEYS": "k" * 64, "DEEDBOX_ACTIONS": "ours"}

    done = subprocess.run(
        [sys.executable, "-c", ASKS],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )

    lanes, sentence = done.stdout.splitlines()
    assert lanes == "['sequencer', 'documents', 'default', 'crm']"
    assert sentence.startswith("DEEDBOX_ACTIONS names elsewhere")
    assert (tmp_path / "imported").read_text(
        "utf-8"
    ) == "True"  # as in each fork, and in no process that asks for lanes


def test_the_fork_server_leaves_to_each_fork_how_it_counts() -> None:
    """``prometheus_client`` decides at its import: with one that was imported before, ingress would have no metrics."""
    code = (
        "import importlib, sys; [importlib.import_module(each) for each in sys.argv[1:]]; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, *MODULES], check=True, capture_output=True, text=True)
    assert "prometheus_client" not in done.stdout.split()


def test_no_fork_outlives_a_killed_supervision(forked: Start) -> None:
    rig = forked({"name": "one"})
    rig.started("one")
    children = rig.children()
    assert len(children) == 2

    rig.process.kill()
    rig.wait()

    _gone, alive = psutil.wait_procs(children, timeout=60)
    assert alive == []
    assert "one ended" in rig.notes()


def test_the_end_of_the_fork_server_ends_no_program_and_keeps_none_from_being_started_again(
    forked: Start,
) -> None:
    rig = forked({"name": "one"}, {"name": "two"})
    rig.started("one", "two")
    server = server_of(rig)

    server.kill()
    psutil.wait_procs([server], timeout=60)
    os.kill(rig.pids("one")[0], signal.SIGKILL)

    until(lambda: len(rig.pids("one")) == 2, "it is back")
    assert server_of(rig).pid != server.pid
    assert len(rig.pids("two")) == 1
    rig.process.terminate()
    assert rig.wait() == 0


def test_a_fork_has_the_secrets_of_no_other_program(forked: Start) -> None:
    word = secrets.token_hex(16)
    rig = forked({"name": "knows", "environment": {"GREETING": word}}, {"name": "knows-not"})
    rig.started("knows", "knows-not")
    assert holds(rig.pids("knows")[0], word.encode())
    assert not holds(rig.pids("knows-not")[0], word.encode())
    assert not holds(server_of(rig).pid, word.encode())


def test_what_a_killed_program_leaves_behind_does_not_stay_as_a_zombie(forked: Start) -> None:
    rig = forked({"name": "parent", "words": ["--child"]})
    rig.started("parent")
    until(lambda: "parent has a child" in rig.notes(), "it has a child")

    os.kill(rig.pids("parent")[0], signal.SIGKILL)

    until(lambda: "parent left a child that ended" in rig.notes(), "the child ended by itself")
    until(
        lambda: all(each.status() != psutil.STATUS_ZOMBIE for each in rig.children()), "its status is taken"
    )


def test_a_second_ctrl_c_kills_a_fork_that_does_not_end(forked: Start) -> None:
    rig = forked({"name": "deaf", "words": ["--deaf"], "stop_wait_s": 600})
    rig.started("deaf")
    [deaf] = rig.pids("deaf")
    rig.interrupt()

    def again() -> bool:
        time.sleep(0.3)
        if psutil.pid_exists(deaf):
            rig.interrupt()
        return not psutil.pid_exists(deaf)

    until(again, "it is killed")
    assert rig.wait() == 0
    assert rig.notes() == ["deaf started"]


def test_the_output_of_forks_goes_to_their_own_files(forked: Start, tmp_path: Path) -> None:
    rig = forked({"name": "many", "numprocs": 2}, quiet=True, output=subprocess.DEVNULL)
    until(lambda: len(rig.pids("many")) == 2, "both run")
    rig.process.terminate()
    rig.wait()
    for name in ("many-0.log", "many-1.log"):
        assert (tmp_path / "data" / "run" / name).read_text(encoding="utf-8") == "many says nothing\n"
