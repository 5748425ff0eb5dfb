"""Evidence is read as it is: from the record, from the disk, from Redis."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path

import fakeredis
import pytest

from deedbox.ops.demo import evidence
from deedbox.shared.records import timeline_line
from deedbox.shared.redis import keys
from deedbox.shared.simulator.lifecycle import Account, SimulatedCallback, generate_requests
from deedbox.shared.simulator.story import LifecyclePolicy

LINE = {
    "idempotency_key": "f:record", "type": "signature_request_signed", "time": 7, "source": "default",
    "key": "signature_request/r1", "signature_request_id": "r1", "related_signature_id": None, "late": False,
    "body_signature": "valid",
}  # fmt: skip


@pytest.fixture
def redis() -> fakeredis.FakeRedis:
    return fakeredis.FakeRedis()


@pytest.fixture
def callback() -> SimulatedCallback:
    policy = LifecyclePolicy(begins_at=1_800_000_000)
    return generate_requests(1, Account("key"), random.Random(1), policy)[0].callbacks[0]


def test_the_record_is_read_in_the_order_of_the_calls(tmp_path: Path) -> None:
    record = tmp_path / "record.jsonl"
    record.write_text("".join(json.dumps({**LINE, "time": time}) + "\n" for time in (9, 8)), "utf-8")
    assert [call.time for call in evidence.read_record(record)] == [9, 8]


def test_a_line_that_is_still_being_written_is_no_call_yet(tmp_path: Path) -> None:
    record = tmp_path / "record.jsonl"
    record.write_text(json.dumps(LINE) + "\n" + json.dumps(LINE)[:20], "utf-8")
    assert len(evidence.read_record(record)) == 1
    assert evidence.read_record(tmp_path / "nothing") == []


def test_a_line_that_is_no_record_is_not_passed_over(tmp_path: Path) -> None:
    record = tmp_path / "record.jsonl"
    record.write_text("{}\n", "utf-8")
    with pytest.raises(KeyError):
        evidence.read_record(record)


def test_documents_are_hashed_from_the_disk_and_unfinished_copies_are_none(tmp_path: Path) -> None:
    folder = tmp_path / "r1"
    folder.mkdir()
    (folder / "named-otherwise.pdf").write_bytes(b"%PDF-1")
    (folder / ".named-otherwise.pdf.0a.tmp").write_bytes(b"%PD")
    (folder / "named-otherwise.json").write_bytes(b"{}")
    assert evidence.hash_documents(tmp_path) == {"r1": [hashlib.sha256(b"%PDF-1").hexdigest()]}
    assert evidence.hash_documents(tmp_path / "nothing") == {}


def test_timelines_are_counted_over_all_streams(redis: fakeredis.FakeRedis) -> None:
    for stream, lines in {
        "default:signature_request/1": [{"kind": "held"}, {"kind": "action", "outcome": "done"}],
        "default:signature_request/2": [{"kind": "held"}, {"kind": "duplicate"}],
    }.items():
        redis.rpush(keys.timeline(stream), *timeline_line.dump([{"at": 1, **line} for line in lines]))
    traces = evidence.read_traces(redis, ["default:signature_request/1", "default:signature_request/2"], [])
    assert (traces.timeline["held"], traces.timeline["duplicate"], traces.actions_done) == (2, 1, 1)


def test_a_fact_outside_the_dedupe_memory_or_without_its_event_is_forgotten(
    redis: fakeredis.FakeRedis, callback: SimulatedCallback
) -> None:
    fact = evidence.identify_callback(callback)
    assert evidence.read_traces(redis, [], [fact]).forgotten == 1
    redis.zadd(keys.seen(fact.stream), {fact.fingerprint: 1})
    assert evidence.read_traces(redis, [], [fact]).forgotten == 1
    redis.hset(keys.event(fact.fingerprint), "body", "{}")
    assert evidence.read_traces(redis, [], [fact]).forgotten == 0


def test_dead_letters_are_shown_without_their_payload(redis: fakeredis.FakeRedis) -> None:
    redis.zadd(keys.DEAD, {"1": 5})
    redis.hset(keys.dead("1"), mapping={"id": "1", "reason": "undecodable", "raw": "a name"})
    (letter,) = evidence.read_traces(redis, [], []).dead
    assert letter == {"id": "1", "reason": "undecodable"}


def test_nothing_waits_in_an_empty_redis_and_every_stage_is_named_when_it_fills(
    redis: fakeredis.FakeRedis,
) -> None:
    assert evidence.waiting(redis) == {}
    redis.rpush(keys.RAW_QUEUE, "a", "b")
    redis.rpush(keys.inbox(0), "a")
    redis.rpush(keys.inbox(15), "a")
    redis.zadd(keys.HELD, {"f": 1})
    redis.hset(keys.DEPTHS, mapping={"crm": 3, "erp": 0})
    redis.zadd(keys.BRIDGE_LEASES, {"b1": 1})
    redis.rpush(keys.claimed("b1"), "a")
    assert evidence.waiting(redis) == {
        "broker": 2, "held": 1, "inbox": 2, "action:crm": 3, "claimed": 1,
    }  # fmt: skip
