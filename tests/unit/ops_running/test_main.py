"""The command line: exit codes, one sentence per error, settings from .env."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deedbox.ops import cli
from deedbox.ops.cli import processes
from deedbox.shared.core.errors import SettingsError, Unavailable


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in an empty directory with an environment that is given back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        os, "environ", {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    )


def _exit_code(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    monkeypatch.setattr(sys, "argv", ["deedbox", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return end.value.code


def test_a_command_imports_what_it_needs_and_no_other_does() -> None:
    """Law: what `deedbox worker` becomes, and the fork server of `up`, wait for no client of Redis and no settings."""
    code = "import sys, deedbox.ops.cli, deedbox.ops.supervise.fork_client; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    heavy = {"redis", "pydantic", "kombu", "flask", "rich", "asyncio", "structlog", "importlib.metadata"}
    assert heavy & set(done.stdout.split()) == set()


def test_the_environment_wins_over_dotenv() -> None:
    Path(".env").write_text("DEEDBOX_ACTIONS=a\nPORT=1\n", encoding="utf-8")
    os.environ["PORT"] = "2"
    cli.load_dotenv(Path(".env"))
    assert (os.environ["DEEDBOX_ACTIONS"], os.environ["PORT"]) == ("a", "2")


def test_a_value_of_dotenv_is_taken_as_it_is_written() -> None:
    Path(".env").write_text("A=pa$$word\nB='x ${A}'\nC\n", encoding="utf-8")
    cli.load_dotenv(Path(".env"))
    assert (os.environ["A"], os.environ["B"], "C" in os.environ) == ("pa$$word", "x ${A}", False)


def test_a_dotenv_that_is_no_text_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(".env").write_bytes(b"\xff\xfe\x00")
    assert _exit_code(monkeypatch, "--version") == 2
    assert capsys.readouterr().err.startswith("deedbox: .env cannot be read")


@pytest.mark.parametrize(
    ("error", "code"),
    [(SettingsError("PORT is wrong."), 2), (Unavailable("Redis sleeps."), 1), (KeyboardInterrupt(), 130)],
)
def test_every_error_has_its_exit_code_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, code: int
) -> None:
    def fail(*_: str) -> None:
        raise error

    monkeypatch.setattr(processes, "become", fail)
    assert _exit_code(monkeypatch, "bridge") == code
    expected = f"deedbox: {error}\n" if str(error) else ""
    assert capsys.readouterr() == ("", expected)


def test_wrong_usage_is_exit_code_2(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _exit_code(monkeypatch, "worker") == 2
    assert _exit_code(monkeypatch, "demo", "--requests", "0") == 2
    assert _exit_code(monkeypatch, "no-such-command") == 2


def test_the_version_is_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_code(monkeypatch, "--version") == 0
    assert capsys.readouterr().out.startswith("deedbox 0.")


def test_the_help_groups_the_commands_of_this_module(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _exit_code(monkeypatch, "--help") == 0
    shown = capsys.readouterr().out
    for name in ("Run", "up", "demo", "simulate", "worker", "bridge", "sweeper"):
        assert name in shown


def test_one_process_of_a_lane_becomes_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    became: list[list[str]] = []

    def execv(_path: str, arguments: list[str]) -> None:
        became.append(arguments)
        raise SystemExit(0)

    monkeypatch.setattr(os, "execv", execv)
    assert _exit_code(monkeypatch, "worker", "--lane", "crm") == 0
    assert became == [[sys.executable, "-m", "deedbox.workers", "worker", "--lane", "crm"]]


def test_several_processes_of_an_unknown_lane_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _exit_code(monkeypatch, "worker", "--lane", "nope", "--processes", "2") == 2
    assert "No registered action names the lane nope" in capsys.readouterr().err


COMMANDS = [
    *(["up"], ["demo"], ["simulate"], ["worker"], ["bridge"], ["sweeper"], ["ops"]),
    *(["status"], ["trace"], ["check"], ["alert-test"]),
    *(["dead", verb] for verb in ("list", "show", "redrive", "discard", "collect")),
    *(["replay"], ["reconcile"], ["callback-url", "show"], ["callback-url", "set"], ["erase"]),
    *(["conflict", verb] for verb in ("list", "show", "apply")),
    *(["spool", verb] for verb in ("status", "drain")),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_a_help_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    assert _exit_code(monkeypatch, *command, "--help") == 0
    assert f"deedbox {' '.join(command)} [OPTIONS]" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("verb", ["list", "redrive", "discard"])
def test_the_filters_of_dead_letters_are_the_same_for_every_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    _exit_code(monkeypatch, "dead", verb, "--help")
    shown = capsys.readouterr().out
    for option in ("--reason", "--action", "--type", "--source", "--key", "--since", "--until"):
        assert option in shown
