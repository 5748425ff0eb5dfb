"""``deedbox status``: what is where, seen without touching it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from redis import Redis

from deedbox.shared.core.ordering import OrderingPolicy
from deedbox.shared.records import spool_mark
from deedbox.shared.records.presence import Presence, dump
from deedbox.shared.records.spool_mark import SpoolMark
from deedbox.shared.redis import keys
from deedbox.shared.redis.embedded import free_port
from deedbox.shared.redis.scripting import SERVER_CLOCK, Scripts
from deedbox.workers.actions.interface import Event, Retry
from tests.component.conftest import Operate
from tests.component.workers.rig import Deployment, Journal, action, declare, message, sent, viewed
from tests.component.workers.server import RedisServer, until

pytestmark = pytest.mark.real_redis

STAGES = ["broker", "claimed", "inbox", "held"]
AFTER_LANES = ["retrying", "dead", "spool"]


def _later(_event: Event, _context: object) -> None:
    raise Retry("not now", after=60)


def test_an_empty_installation_shows_every_stage_at_zero(operate: Operate) -> None:
    stages = operate("status", "--json").document["stages"]

    assert list(stages) == [*STAGES, "lane:sequencer", *AFTER_LANES]
    assert all(stage == {"depth": 0, "oldest_age_s": None} for stage in stages.values())


def test_every_stage_counts_what_lies_in_it(operate: Operate, state: Redis) -> None:
    deployment = Deployment(state, action(_later, name="crm", lane="crm"), order=OrderingPolicy(hold_s=60))
    received_at = time.time() - 100
    for number in range(4):
        state.lpush(keys.RAW_QUEUE, message(sent(0, f"raw{number}"), received_at=received_at + number))
    Scripts(state).call("claim_raw", SERVER_CLOCK, keys.RAW_QUEUE, "bridge-1", 10, 1, 1 << 20)
    deployment.deliver(sent(0, "r1"), viewed(5, "r2"))  # r2's `sent` is missing
    deployment.drain()
    deployment.work("crm")
    deployment.deliver(sent(0, "r3"), sent(0, "r4"))

    stages = operate("status", "--json").document["stages"]

    depths = {name: stage["depth"] for name, stage in stages.items()}
    assert depths == {
        "broker": 3, "claimed": 1, "inbox": 2, "held": 1, "lane:sequencer": 2, "lane:crm": 1,
        "retrying": 1, "dead": 0, "spool": 0,
    }  # fmt: skip
    assert 98 < stages["broker"]["oldest_age_s"] < stages["claimed"]["oldest_age_s"] < 160
    for name in ("inbox", "held", "retrying", "lane:sequencer"):
        assert 0 <= stages[name]["oldest_age_s"] < 60
    assert stages["lane:crm"]["oldest_age_s"] is None  # its one entry waits for a retry, it is not ready


def test_the_spools_of_all_hosts_are_one_stage(operate: Operate, state: Redis) -> None:
    now = time.time()
    say_spooled(state, "a1", SpoolMark("web-1", 3, 9000, 1 << 30, now - 100, now))
    say_spooled(state, "a2", SpoolMark("web-2", 1, 3000, 1 << 30, now - 200, now))

    spool = operate("status", "--json").document["stages"]["spool"]

    assert spool["depth"] == 4
    assert 199 < spool["oldest_age_s"] < 260


def test_a_host_that_is_gone_is_forgotten_and_one_that_lives_is_not(operate: Operate, state: Redis) -> None:
    now = time.time()
    say_spooled(state, "a1", SpoolMark("web-1", 3, 9000, 1 << 30, now - 100, now))
    say_spooled(state, "a2", SpoolMark("web-2", 34, 3000, 1 << 30, now - 9000, now - 8000))

    rows = operate("spool", "forget", "--json").document["spools"]
    page = operate("spool", "forget").out
    living = operate("spool", "forget", "web-1")
    gone = operate("spool", "forget", "web-2")

    assert {row["host"]: row["lives"] for row in rows} == {"web-1": True, "web-2": False}
    assert "spool on host web-2 (a2): 34 callbacks" in page
    assert "silent for 2 h" in page
    assert (living.code, gone.code) == (1, 0)
    assert state.hkeys(keys.SPOOLS) == [b"a1"]
    assert operate("spool", "forget", "web-2").code == 1


def say_spooled(state: Redis, folder: str, mark: SpoolMark) -> None:
    state.hset(keys.SPOOLS, folder, spool_mark.dump(mark))


def test_looking_changes_nothing(operate: Operate, state: Redis) -> None:
    deployment = Deployment(state, action(_later))
    state.lpush(keys.RAW_QUEUE, message(sent()))
    deployment.deliver(sent(), viewed(5))
    deployment.run()
    before = {key: state.dump(key) for key in state.scan_iter()}

    operate("status", "--json")
    operate("status")
    operate("trace", "r1")

    assert {key: state.dump(key) for key in state.scan_iter()} == before


def test_the_page_names_what_waits_and_what_is_wrong(operate: Operate, state: Redis) -> None:
    deployment = Deployment(state, action(_later, name="crm", lane="crm"))
    state.lpush(keys.RAW_QUEUE, message(sent(0, "r9")))
    deployment.deliver(sent())
    deployment.run()

    page = operate("status").out

    assert "lane:crm" in page
    assert "for crm" in page
    assert "arrived 1, released 1" in page
    assert "crm of default:signature_request/r1: put off 1 time, waiting for" in page
    assert "Lane crm has work (depth 1) and no living worker: start `deedbox worker --lane crm`" in page
    assert "no bridge runs" in page
    assert "`deedbox runbook deedboxworkersgone` says what to do." in page


def test_a_head_of_line_that_waits_shows_its_next_attempt_and_what_it_holds_up(
    operate: Operate, state: Redis
) -> None:
    deployment = Deployment(state, action(_later, name="crm"))
    deployment.deliver(sent(), viewed(3), sent(0, "r2"))
    deployment.run()

    page, document = operate("status").out, operate("status", "--json").document

    assert "crm of default:signature_request/r1: put off 1 time" in page
    assert "crm last met: not now" in page
    assert "not now" not in json.dumps(document)  # open to all of this machine; a reason may quote a person
    assert any(f"next attempt in {due}" in page for due in ("1 min", "60 s", "59 s"))
    assert {head["stream"][-2:] for head in document["waiting"]} == {"r1", "r2"}
    assert all(0 < head["due_in_s"] <= 60 for head in document["waiting"])
    assert document["stages"]["retrying"]["depth"] == 2
    assert document["stages"]["lane:default"]["depth"] == 3  # r1's `viewed` waits behind its `sent`


def test_calls_of_an_action_that_no_module_declares_any_more_are_named(
    operate: Operate, state: Redis
) -> None:
    deployment = Deployment(state, action(_later, name="crm", lane="crm"))
    deployment.deliver(sent(), sent(0, "r2"))
    deployment.run()
    declare(state, track_status="default")

    answer = operate("status", "--json")

    [found] = answer.document["unknown_calls"]
    assert (found["action"], found["calls"]) == ("crm", 2)
    assert "unknown_action" in [each["kind"] for each in answer.document["warnings"]]
    assert "no_worker" not in [each["kind"] for each in answer.document["warnings"]]
    assert "(waiting for" in operate("status").out
    assert "no worker knows this action" in operate("status").out


def test_a_worker_that_speaks_is_shown_and_one_that_fell_silent_is_not(
    operate: Operate, state: Redis
) -> None:
    scripts = Scripts(state)
    scripts.call("present", SERVER_CLOCK, "worker-1", 10.0, dump(Presence("crm", "act", "e" * 32, 0.5)))
    scripts.call("present", SERVER_CLOCK, "killed", 10.0, dump(Presence("crm")))
    state.zadd(keys.WORKERS, {"killed": time.time() - 1})
    scripts.call("present", SERVER_CLOCK, "ended", 10.0, dump(Presence("crm")))
    scripts.call("present", SERVER_CLOCK, "ended", 0, b"")

    workers = operate("status", "--json").document["workers"]

    assert [(row["name"], row["lane"], row["state"], row["action"]) for row in workers] == [
        ("worker-1", "crm", "busy", "act")
    ]


def test_workers_that_were_killed_long_ago_are_forgotten(state: Redis) -> None:
    scripts = Scripts(state)
    scripts.call("present", "1000", "killed", 10.0, dump(Presence("crm")))
    scripts.call("present", "1100", "living", 10.0, dump(Presence("crm")))
    assert state.hkeys(keys.WORKERS_DOING) == [b"living"]


def test_a_silent_broker_hides_nothing_else(operate: Operate, state: Redis) -> None:
    Deployment(state, action(Journal())).deliver(sent())

    answer = operate("status", "--json", DEEDBOX_BROKER_URL=f"amqp://guest:s3cret@127.0.0.1:{free_port()}//")

    assert answer.document["stages"]["broker"] == {"depth": None, "oldest_age_s": None}
    assert answer.document["stages"]["inbox"]["depth"] == 1
    assert "broker_away" in [each["kind"] for each in answer.document["warnings"]]
    assert "s3cret" not in answer.out


def test_a_silent_redis_is_one_sentence(operate: Operate) -> None:
    answer = operate("status", DEEDBOX_REDIS_URL=f"redis://:s3cret@127.0.0.1:{free_port()}/0")

    assert answer.code == 1
    assert "refused" in answer.sentence
    assert "s3cret" not in answer.sentence


def test_watching_without_a_terminal_writes_a_snapshot_a_second(
    state: Redis, redis_server: RedisServer, tmp_path: Path
) -> None:
    code = (
        # A shell that starts the suite in its background has children that ignore Ctrl-C.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from deedbox.ops.cli import main; main()"
    )
    env = {"DEEDBOX_REDIS_URL": redis_server.url, "PATH": ""}
    output = tmp_path / "output"
    with output.open("wb") as file:
        watching = subprocess.Popen(
            [sys.executable, "-c", code, "status", "--watch", "--json"],
            stdout=file,
            env=env,
            cwd=Path(__file__).parents[3],
        )
        try:
            until(lambda: output.read_bytes().count(b"\n") >= 1, "a first snapshot is written")
            Deployment(state, action(Journal())).deliver(sent())
            until(lambda: b'"inbox": {"depth": 1' in output.read_bytes(), "the next shows the arrival")
            watching.send_signal(2)
            assert watching.wait(timeout=10) == 0
        finally:
            watching.kill()
            watching.wait()
    assert all(json.loads(line)["stages"] for line in output.read_text(encoding="utf-8").splitlines())
