"""``deedbox call``: one action on a stored event, in the foreground; recorded only if that is said."""

from __future__ import annotations

import json
import pdb  # noqa: T100 - what the command opens
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from redis import Redis

from deedbox.ops.demo.evidence import lines_of
from deedbox.shared.audit import audit_log
from deedbox.shared.command_options import CallOptions
from deedbox.shared.core.errors import DeedboxError, SettingsError
from deedbox.shared.redis import keys
from deedbox.shared.settings import Settings
from deedbox.workers.commands import call
from deedbox.workers.process import Process
from tests.component.workers.rig import Deployment, Journal, action, sent, viewed
from tests.component.workers.server import RedisServer
from tests.support.stored import event_at

pytestmark = pytest.mark.real_redis

MODULE = """
from deedbox import Reject, action

calls = []

@action("signature_request_*", name="crm")
def crm(event, context):
    calls.append((event.type, context.idempotency_key))
    context.note("noted")
    context.emit("deedbox.billed", {"sum": 7})

@action("signature_request_viewed", name="broken")
def broken(event, context):
    raise KeyError("x")

@action("fax_*", name="fax")
def fax(event, context): ...
"""


@pytest.fixture
def process(
    state: Redis, redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Process:
    name = f"actions_of_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    settings = {"DEEDBOX_API_KEYS": "k", "DEEDBOX_REDIS_URL": redis_server.url, "DEEDBOX_ACTIONS": name,
                "DEEDBOX_BUILTINS": "none", "DEEDBOX_DATA_DIR": str(tmp_path)}  # fmt: skip
    made = Process(Settings.load(settings))
    assert made.redis.ping()
    deployment = Deployment(state, action(Journal(), name="crm"))
    deployment.deliver(sent(), viewed(5))
    deployment.run()
    return made


def everything(state: Redis) -> dict[bytes, bytes | None]:
    return {name: state.dump(name) for name in state.scan_iter(keys.PREFIX + "*")}


def lines(state: Redis) -> list[dict[str, Any]]:
    return lines_of(state, "default:signature_request/r1")


def called(process: Process, **options: Any) -> int:
    return call.run(
        process, CallOptions(**{"source": "default", "identifier": "r1", "action": "crm"} | options)
    )


def test_the_newest_event_is_called_with_its_own_key_and_nothing_changes(
    process: Process, state: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    before = everything(state)
    assert called(process, as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["type"], told["outcome"], told["recorded"]) == ("signature_request_viewed", "done", False)
    assert told["emitted"] == [{"type": "deedbox.billed", "payload": {"sum": 7}}]
    assert everything(state) == before
    assert called(process, identifier=told["event"], as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["event"] == told["event"]


def test_a_commit_records_outcome_notes_and_what_was_emitted(
    process: Process, state: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    before = len(lines(state))
    assert called(process, commit=True) == 0
    added = lines(state)[before:]
    assert [(each["kind"], each.get("detail")) for each in added[:3]] == [
        ("action", None), ("note", "noted"), ("note", "called by hand (deedbox call)"),
    ]  # fmt: skip
    [recorded] = audit_log.read(state, 9)
    assert (recorded.operation, recorded.count, recorded.asked["action"]) == ("call", 1, "crm")
    assert "Recorded." in capsys.readouterr().out
    emitted = [event_at(state, name) for name in state.scan_iter(keys.event("*"))]
    assert "deedbox.billed" in [each.event_type for each in emitted]
    assert state.hlen(keys.action("crm", "tokens")) == state.zcard(keys.action("crm", "leased")) == 0


def test_a_failure_is_shown_and_recorded_in_no_case(
    process: Process, state: Redis, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, debugged = everything(state), []

    def debug(trace: TracebackType | None) -> None:
        debugged.append(trace)

    monkeypatch.setattr(pdb, "post_mortem", debug)
    assert called(process, action="broken", commit=True, pdb=True) == 1
    said = capsys.readouterr()
    assert ("KeyError: 'x'" in said.err, "Nothing is recorded." in said.out) == (True, True)
    assert len(debugged) == 1
    assert everything(state) == before


def test_what_cannot_be_called_is_one_sentence(process: Process) -> None:
    with pytest.raises(SettingsError, match="--action is one of crm, broken, fax"):
        called(process, action="none")
    with pytest.raises(DeedboxError, match="wants none of the stored events"):
        called(process, action="fax")
    with pytest.raises(DeedboxError, match="No event of signature_request/r2"):
        called(process, identifier="r2")
