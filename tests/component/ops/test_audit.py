"""Every operation is recorded, whichever command it is: who, when, what, how many; looking is not."""

from __future__ import annotations

import getpass
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import typer.main
from redis import Redis

from deedbox.ingress import spool_command
from deedbox.ops import cli
from deedbox.ops.installation import Installation
from deedbox.ops.repair import catalog
from deedbox.shared.audit import AuditedOperation as Op
from deedbox.shared.audit import audit_log
from deedbox.shared.records import spool_mark
from deedbox.shared.records.spool_mark import SpoolMark
from deedbox.shared.redis import keys
from deedbox.shared.redis.scripting import Scripts
from deedbox.workers.actions.interface import Context, Event, Reject
from deedbox.workers.actions.registry import Registry
from tests.component.conftest import Operate
from tests.component.vault.rings import OLD
from tests.component.workers.rig import Deployment, Journal, action, declare, message, sent
from tests.component.workers.server import RedisServer
from tests.support.memory_broker import MemoryBroker

pytestmark = pytest.mark.real_redis

RING: Final = {"DEEDBOX_ENCRYPTION_KEYS": OLD.hex()}

RUN_HERE: Final[dict[str, tuple[Op, tuple[str, ...]]]] = {
    "dead redrive": (Op.REDRIVE, ("1", "--yes")),
    "dead discard": (Op.DISCARD, ("--action", "crm", "--yes")),
    "dead show": (Op.SHOW_PAYLOAD, ("1", "--raw")),
    "dead collect": (Op.COLLECT, ("--yes",)),
    "replay": (Op.REPLAY, ("r1", "--action", "log", "--yes")),
    "pause": (Op.PAUSE, ("action", "crm", "--why", "Jane asked for it")),
    "resume": (Op.RESUME, ("action", "log")),
    "erase": (Op.ERASE, ("r1", "--yes")),
    "actions end": (Op.END_CALLS, ("old", "--yes")),
    "actions rename": (Op.RENAME_CALLS, ("old", "log", "--yes")),
    "conflict show": (Op.SHOW_PAYLOAD, ("r1", "")),
    "conflict apply": (Op.APPLY_CONFLICT, ("r1", "", "--yes")),
    "rotate-keys": (Op.ROTATE_KEYS, ()),
    "spool forget": (Op.FORGET_SPOOL, ("gone",)),
}
"""Operations that the command does itself."""

IN_INGRESS: Final = {
    "spool drain": (Op.DRAIN_SPOOL, ["drain"]),
    "spool redrive": (Op.REDRIVE_SPOOL, ["redrive", "7"]),
    "spool discard": (Op.DISCARD_SPOOL, ["discard", "7"]),
}
"""What the process of the spool does."""

IN_A_WORKER: Final = {"reconcile": Op.RECONCILE, "callback-url set": Op.SET_CALLBACK_URL, "call": Op.CALL}
"""What a worker process does: ``tests/component/workers`` has the laws, in ``test_reconcile_command.py`` and others."""

LOOKING: Final = {
    "status", "trace", "runbook", "audit", "check", "alert-test", "dead list", "actions list", "conflict list", "callback-url show",
    "spool status", "sign-in",
}  # fmt: skip
"""Commands that change nothing that others see."""

RUNNING: Final = {
    "up", "worker", "bridge", "sweeper", "ops", "demo", "simulate", "init", "send", "listen",
}  # fmt: skip
"""Programs, and what makes callbacks: these are recorded as callbacks."""


def _commands(group: Any, before: str = "") -> Iterator[tuple[str, set[str]]]:
    """Name each command, with its options."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{before}{name} ")
        else:
            yield before + name, {option for each in command.params for option in each.opts}


COMMANDS: Final = dict(_commands(typer.main.get_command(cli.app)))


def test_every_command_is_in_one_of_the_tables_and_every_operation_has_a_command() -> None:
    recorded = {*RUN_HERE, *IN_INGRESS, *IN_A_WORKER}
    assert COMMANDS.keys() == recorded | LOOKING | RUNNING
    asking = {name for name, options in COMMANDS.items() if options & {"--yes", "--dry-run"}}
    assert asking <= recorded, "a command that asks, or has a dry run, changes something"
    operations = {row[0] for row in (*RUN_HERE.values(), *IN_INGRESS.values())} | set(IN_A_WORKER.values())
    assert operations == set(Op)


@pytest.fixture
def deployment(state: Redis, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """Leave a dead letter, a conflict, calls of a vanished action, a pause, a silent host and a message that was given up."""

    def reject(_event: Event, _context: Context) -> None:
        raise Reject("Jane is unknown")

    actions = (action(reject, name="crm"), action(Journal(), name="log"))
    found = Deployment(state, *actions, action(Journal(), name="old", lane="side"))
    found.deliver(sent(title="Jane's lease"), sent(title="John's lease"))
    found.drain()
    found.work("default")
    declare(state, crm="default", log="default")
    state.hset(keys.PAUSED, "action|log", '{"n":1,"at":1,"by":"ann","why":""}')
    mark = SpoolMark("gone", 1, 1, 9, 1.0, 1.0)
    state.hset(keys.SPOOLS, "id-of-gone", spool_mark.dump(mark))
    monkeypatch.setattr(catalog, "described", lambda _environ: {"actions": Registry(actions).describe()})
    broker = MemoryBroker()
    broker.dead.append(message(sent(0, "r2")))
    monkeypatch.setattr(Installation, "broker", broker)
    return found


def _body(operate: Operate) -> str:
    return str(operate("conflict", "list", "r1", "--json").document["conflicts"][0]["body"])


@pytest.mark.usefixtures("deployment")
@pytest.mark.parametrize("command", RUN_HERE)
def test_an_operation_is_recorded_once_with_who_when_what_and_how_many(
    operate: Operate, state: Redis, command: str
) -> None:
    operation, words = RUN_HERE[command]
    words = tuple(word or _body(operate) for word in words)
    done = operate(*command.split(), *words, **RING)
    assert (done.code, done.sentence) == (0, "")
    [line] = audit_log.read(state, 9)
    assert (line.who, line.way, line.operation) == (getpass.getuser(), "command", operation)
    assert line.count == (0 if command == "rotate-keys" else 1)
    assert line.at == pytest.approx(time.time(), abs=600)
    assert "Jane" not in str(state.lrange(keys.AUDIT, 0, -1))
    [shown] = operate("audit", "--json").document["operations"]
    assert shown == line.document()
    assert operation in operate("audit").out


@pytest.mark.usefixtures("deployment")
@pytest.mark.parametrize("command", RUN_HERE)
def test_a_dry_run_and_a_look_are_not_recorded(operate: Operate, state: Redis, command: str) -> None:
    words = tuple(word or _body(operate) for word in RUN_HERE[command][1] if word not in {"--yes", "--raw"})
    look = (*command.split(), *words, "--dry-run") if "--dry-run" in COMMANDS[command] else ("status",)
    assert operate(*look).code == 0
    assert audit_log.read(state, 9) == []


@pytest.mark.parametrize("command", IN_INGRESS)
def test_an_operation_on_the_spool_is_recorded(
    state: Redis, redis_server: RedisServer, tmp_path: Path, command: str
) -> None:
    operation, words = IN_INGRESS[command]
    environ = {
        "DEEDBOX_REDIS_URL": redis_server.url,
        "DEEDBOX_API_KEYS": "k",
        "DEEDBOX_DATA_DIR": str(tmp_path),
    }
    spool_command.main(environ, words)
    [line] = audit_log.read(state, 9)
    assert (line.way, line.operation, line.count) == ("command", operation, 0)
    assert line.asked["host"]


def test_what_breaks_off_is_recorded_too(state: Redis) -> None:
    log = audit_log.AuditLog(lambda: Scripts(state), "anna")
    with pytest.raises(KeyboardInterrupt), log.operation(Op.REPLAY, source="default"):
        raise KeyboardInterrupt
    [line] = audit_log.read(state, 9)
    assert (line.count, line.asked) == (None, {"source": "default"})


def test_an_operation_that_cannot_be_recorded_is_done_and_says_so() -> None:
    missed: list[str] = []
    away = Scripts(Redis(port=1))
    with audit_log.AuditLog(lambda: away, "anna", missed=missed.append).operation(Op.ERASE) as done:
        done.count = 1
    [sentence] = missed
    assert sentence.startswith(
        "This operation (erase) could not be recorded in the audit. Redis does not answer"
    )


def test_the_newest_operations_are_kept_and_a_full_redis_takes_them(
    state: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_log, "KEEP", 3)
    log = audit_log.AuditLog(lambda: Scripts(state), "anna")

    def work(number: int) -> None:
        with log.operation(Op.DISCARD, ids=list(range(99))) as done:
            done.count = number

    for number in range(4):
        work(number)
    state.config_set("maxmemory", 1)
    try:
        work(4)
    finally:
        state.config_set("maxmemory", 0)
    found = audit_log.read(state, 9)
    assert [line.count for line in found] == [4, 3, 2]
    assert len(found[0].asked["ids"]) == 20


def test_who_is_the_person_before_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "anna")
    assert audit_log.operator() == "anna"

    def nameless() -> str:
        raise KeyError("what a container's user raises")

    monkeypatch.delenv("SUDO_USER")
    monkeypatch.setattr(getpass, "getuser", nameless)
    assert audit_log.operator() == "operator"
