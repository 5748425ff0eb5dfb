"""``deedbox up`` from outside: a callback reaches the user's own code; what is set wrong is one sentence."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import urllib3

from deedbox.ops.supervise.fork_client import MODULES
from deedbox.shared.redis.embedded import free_port
from tests.component.destinations.conftest import SECRET, Webhooks, webhooks
from tests.e2e.conftest import Start
from tests.e2e.running import COMMAND, Running, environment, until
from tests.support.process_memory import holds
from tests.support.waiting import PATIENCE_S

pytestmark = [pytest.mark.e2e, pytest.mark.real_redis]

KEY = "324e3b0840f065eb51f3fd63231d0d33daa35d4ed10d27718839e81737065782"
"""Published by the vendor for tests."""

ACTIONS = """
from pathlib import Path
from deedbox import action

@action("signature_request_sent", "deedbox.document_stored", lane="crm")
def write_down(event, context):
    with Path("seen.txt").open("a") as file:
        file.write(f"{event.type} {event.signature_request_id}\\n")
"""


@pytest.fixture(scope="module")
def api_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def hooks() -> Iterator[Webhooks]:
    with webhooks() as made:
        yield made


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, api_port: int, hooks: Webhooks) -> Iterator[Running]:
    """Run ``up`` with an application of the user; stopped by SIGTERM, it must leave nothing behind."""
    folder = tmp_path_factory.mktemp("up")
    (folder / "myapp.py").write_text(ACTIONS, encoding="utf-8")
    (folder / ".env").write_text(f"DEEDBOX_API_KEYS={KEY}\nDEEDBOX_ACTIONS=overruled\n", encoding="utf-8")
    up = Running(
        folder,
        "up",
        DEEDBOX_ACTIONS="myapp",
        DEEDBOX_HOLD_S="1",
        DEEDBOX_DOWNLOADABLE_GRACE_S="1",
        DEEDBOX_API_URL=f"http://127.0.0.1:{api_port}/v3",
        DEEDBOX_DESTINATIONS=json.dumps({"crm": {"url": hooks.url, "secret": SECRET, "allow_private": True}}),
    )
    try:
        up.says("Deedbox is ready.")
        yield up
        children = up.children()
        up.process.terminate()
        assert up.wait() == 0
        assert psutil.wait_procs(children, timeout=PATIENCE_S)[1] == []
        assert not (folder / "var" / "run" / "redis.url").exists()
    finally:
        up.close()


def _callback_url(up: Running) -> str:
    found = re.search(r"callbacks +(http://\S+)", up.out)
    assert found is not None, up.out
    return found[1]


def test_a_simulated_request_reaches_the_users_action_and_its_document_the_store(
    running: Running, api_port: int
) -> None:
    command = (
        *(str(COMMAND), "simulate", "--url", _callback_url(running), "--json", "--api-port", str(api_port)),
        *("--requests", "4", "--rate", "40", "--seed", "3", "--delay", "0.3"),
    )
    simulated = subprocess.Popen(
        command,
        env=environment(DEEDBOX_API_KEYS=KEY),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert simulated.stdout is not None
        report = json.loads(simulated.stdout.readline())
        seen = running.folder / "seen.txt"
        until(
            lambda: seen.exists() and "deedbox.document_stored" in seen.read_text("utf-8"), "a document came"
        )
        until(lambda: seen.read_text("utf-8").count("signature_request_sent ") == 4, "every request came")
    finally:
        simulated.terminate()
        simulated.communicate(timeout=10)

    assert report["failed"] + report["unfinished"] + report["forgeries_acked"] == 0
    assert report["acked"] > 20
    assert simulated.returncode == 0
    documents = [path.parent.name for path in (running.folder / "var" / "documents").rglob("*.pdf")]
    told = re.findall(r"deedbox.document_stored (\w+)", seen.read_text("utf-8"))
    assert set(told) <= set(documents)


def test_every_event_of_a_request_reaches_a_destination(running: Running, hooks: Webhooks) -> None:
    seen = (running.folder / "seen.txt").read_text("utf-8").splitlines()
    first = next(line.split()[1] for line in seen if line.startswith("signature_request_sent"))
    until(lambda: "all_signed" in hooks.types(first), "the last event came")
    assert hooks.types(first)[0] == "sent"


def test_what_is_killed_is_told_in_one_line_and_started_again(running: Running) -> None:
    before = running.child("sweeper")
    before.kill()

    running.says("deedbox: sweeper was killed by SIGKILL and ")
    until(lambda: running.child("sweeper").pid != before.pid, "another sweeper runs")


def test_the_link_that_up_prints_signs_in_once_and_the_command_prints_another(running: Running) -> None:
    found = re.search(r"sign in +(http://\S+)", running.out)
    assert found is not None, running.out
    command = [str(COMMAND), "sign-in", "--json"]
    printed = subprocess.run(command, cwd=running.folder, env=environment(), capture_output=True, check=True)
    origin = found[1].partition("/sign-in?")[0]
    for link in (found[1], f"{origin}/sign-in?{urlsplit(json.loads(printed.stdout)['link']).query}"):
        answers = [urllib3.request("GET", link, redirect=False, timeout=20) for _ in range(2)]
        assert [answer.status for answer in answers] == [302, 401]
        cookie = answers[0].headers["Set-Cookie"].partition(";")[0]
        page = urllib3.request("GET", origin + "/", headers={"Cookie": cookie}, redirect=False, timeout=20)
        assert (page.status, b"broker" in page.data) == (200, True)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows the memory of a process")
def test_each_process_has_the_secrets_that_it_needs_and_no_other(running: Running) -> None:
    """Read from their memory: what a process could be made to give away."""
    everyone: dict[str, list[int]] = {}
    for child in running.children():
        words = [word for word in child.cmdline() if word.strip()]
        if words:
            everyone.setdefault(words[-1], []).append(child.pid)
    with_key = {name for name, pids in everyone.items() if any(holds(pid, KEY.encode()) for pid in pids)}
    without_key = {
        "deedbox.ops.web",
        "bridge",
        "sweeper",
        "sequencer",
        "destinations",
        MODULES[-1],
    }  # the last: the fork server
    assert with_key == {"deedbox.ingress", "documents", "default", "crm"}
    assert without_key <= everyone.keys()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows what a process has loaded")
def test_the_fork_server_has_what_its_forks_load(running: Running) -> None:
    """Law: a library that each fork loads for itself is in memory once for each."""
    server = next(child for child in running.children() if "fork_server" in " ".join(child.cmdline()))
    for name in ("deedbox.ingress", "bridge", "sweeper", "sequencer", "deedbox.ops.web"):
        fork = next(
            child for child in running.children() if [*filter(str.strip, child.cmdline()), ""][-2] == name
        )
        for each in (fork, *fork.children()):
            assert libraries(each) - libraries(server) == set(), name


def libraries(process: psutil.Process) -> set[str]:
    """Return the libraries that a process has loaded."""
    return {found.path for found in process.memory_maps() if ".so" in found.path}


def test_what_up_prints_holds_no_secret(running: Running) -> None:
    password = (running.folder / "var" / "run" / "redis.url").read_text("utf-8").split(":")[2].split("@")[0]
    for secret in (KEY, password):
        assert secret not in running.out + running.err


WRONG = {
    "DEEDBOX_API_KEYS": {"DEEDBOX_API_KEYS": ""},
    "DEEDBOX_ACTIONS": {"DEEDBOX_ACTIONS": "no_such_module"},
    "Two actions are named twin": {"DEEDBOX_ACTIONS": "twins"},
    "DEEDBOX_DATA_DIR": {"DEEDBOX_DATA_DIR": "twins.py/data"},
    "DEEDBOX_HOLD_S": {"DEEDBOX_HOLD_S": "soon"},
    "DEEDBOX_REDIS_URL": {"DEEDBOX_REDIS_URL": "redis://127.0.0.1:1"},
}

TWINS = """
from deedbox import action

@action("*", name="twin")
def one(event, context): ...

@action("*", name="twin")
def other(event, context): ...
"""


@pytest.mark.parametrize("named", WRONG)
def test_a_wrong_setting_is_one_sentence_that_names_it(start: Start, tmp_path: Path, named: str) -> None:
    (tmp_path / "twins.py").write_text(TWINS, encoding="utf-8")
    up = start("up", **{"DEEDBOX_API_KEYS": KEY, **WRONG[named]})

    assert up.wait() == 2
    (line,) = up.err.splitlines()
    assert line.startswith("deedbox: ")
    assert named in line
    assert "ready" not in up.out


def test_a_taken_port_is_one_sentence_that_names_port(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        up = start("up", DEEDBOX_API_KEYS=KEY, PORT=str(other.getsockname()[1]))
        assert up.wait() == 1
    (line,) = up.err.splitlines()
    assert "PORT" in line
