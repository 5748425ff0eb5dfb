"""A quiet request is archived, everybody reads it as before, and whatever comes later finds it as it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from redis import Redis

from deedbox.ops.readmodels import events as clean_events
from deedbox.ops.readmodels import look_ups, request_search, requests, timeline
from deedbox.ops.readmodels.look_ups import LookUp
from deedbox.ops.repair.conflicts import Conflicts
from deedbox.ops.repair.history import History
from deedbox.shared.archives.archiving import NAMES_MAX, Archivist
from deedbox.shared.archives.restoring import restore
from deedbox.shared.archives.stream_archive import StreamArchive
from deedbox.shared.core.identity import shard_of
from deedbox.shared.core.signature import BodySignature
from deedbox.shared.records import stored_event
from deedbox.shared.records.replay_order import ReplaySpan
from deedbox.shared.records.stored_event import StoredEvent
from deedbox.shared.redis import keys, script_calls
from deedbox.shared.redis.request_keys import Holdings
from deedbox.shared.redis.scripting import Scripts
from deedbox.workers.builtins import known_requests
from deedbox.workers.builtins.track_status import registered
from deedbox.workers.commands.call import stream_of
from deedbox.workers.lanes.recall import recall
from tests.component.vault.rings import OLD, use
from tests.component.workers.keyspace import traces
from tests.component.workers.rig import (
    Deployment,
    Failing,
    Journal,
    P,
    action,
    callback,
    expire,
    sent,
    viewed,
)
from tests.component.workers.server import until
from tests.component.workers.test_erasure import R1, erase, eraser
from tests.support.stored import event_at

STREAM = R1.stream
EVER = ReplaySpan(0, 2**40)


@pytest.fixture(params=[False, True], ids=["plain", "encrypted"])
def ringed(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let the test run with and without a key ring."""
    if request.param:
        use(OLD)
    yield
    use()


def filled(state: Redis, *actions: Any, **more: Any) -> Deployment:
    """Process a request with a repeat, a conflict and a read model, and another one."""
    tracked = registered()
    deployment = Deployment(state, *(actions or (action(Journal()),)), tracked, **more)
    deployment.deliver(
        sent(title="Lease"),
        sent(title="Lease"),
        sent(title="another"),
        viewed(3, title="Lease"),
        sent(request_id="r2"),
    )
    deployment.run()
    return deployment


def archive(state: Redis) -> int:
    """Let everything be quiet for long, and archive. Returns how many archives there are."""
    expire(state, keys.QUIET)
    Archivist(Scripts(state), 60).once()
    return len(list(state.scan_iter(keys.archive("*"))))


def held(state: Redis) -> dict[str, Any]:
    """Return every key of the streams with its value, and how long it lives (s)."""
    read: dict[bytes, Callable[[str], Any]] = {
        b"string": state.get, b"hash": state.hgetall, b"list": lambda key: state.lrange(key, 0, -1),
        b"zset": lambda key: state.zrange(key, 0, -1, withscores=True),
    }  # fmt: skip
    kinds = ("seen", "order", "timeline", "request", "document", "finds", "event", "key", "archive")
    names = [name.decode() for kind in kinds for name in state.scan_iter(f"{keys.PREFIX}{kind}:*")]
    return {name: (read[cast("bytes", state.type(name))](name), state.ttl(name)) for name in names}


def told(state: Redis) -> dict[str, Any]:
    """Return what everybody reads about the request."""
    page = clean_events.read(state, clean_events.START, clean_events.EventFilter())
    found = timeline.read(state, "default", R1.ordering_key)
    assert found is not None
    signed = LookUp("default", signature_id="s1")
    return {
        "timeline": found.document(), "model": found.model, "elsewhere": timeline.elsewhere(state, ["default"], "r1"),
        "request": requests.read(state, "default", "r1"), "search": request_search.search(state, ["default"], "lease").hits,
        "signature": look_ups.look_up(state, signed).requests, "waiting": look_ups.waiting_longest(state, ("default",), 9),
        "heads": clean_events.with_heads(state, page), "payloads": clean_events.with_payloads(state, page),
        "past": History(state).past(STREAM, EVER), "recall": recall(state, STREAM),
        "known": known_requests.known(state, [STREAM], fetches=True),
        "stream": stream_of(state, page.events[0]["event"]),
    }  # fmt: skip


def told_of(fields: dict[bytes, bytes]) -> tuple[object, ...]:
    """Return what a stored event says. Its ``event_hash`` is left out of archives, and so its body may be another."""
    event = StoredEvent.load("", fields)
    assert isinstance(event, StoredEvent)
    beside = {name: each for name, each in fields.items() if len(name) > 1 and name != b"open"}
    if event.is_sealed:
        return event, beside
    return replace(event, body=b""), event.payload(), beside


def seen(state: Redis) -> list[bytes]:
    return cast("list[bytes]", state.zrange(keys.seen(STREAM), 0, -1))


@pytest.mark.usefixtures("ringed")
def test_restoring_gives_back_every_key_as_it_was(state: Redis) -> None:
    filled(state)
    before = held(state)
    assert archive(state) == 2
    assert {name.partition(":")[2].partition(":")[0] for name in held(state)} <= {"archive", "key"}
    assert (
        restore(Scripts(state), [STREAM, "default:signature_request/r2", "default:signature_request/none"])
        == 2
    )
    after = held(state)
    assert after.keys() == before.keys()
    for name, (value, life) in before.items():
        if "event:" in name:
            assert told_of(after[name][0]) == told_of(value), name
        else:
            assert after[name][0] == value, name
        assert abs(after[name][1] - life) <= 5, name


@pytest.mark.usefixtures("ringed")
def test_everybody_reads_of_an_archived_request_what_they_read_before(state: Redis) -> None:
    filled(state)
    before = told(state)
    before["timeline"] |= {"now": 0}
    assert archive(state) == 2
    after = told(state)
    after["timeline"] |= {"now": 0}
    assert after == before
    assert not seen(state), "reading restores nothing"
    assert [each.differences() for each in Conflicts(Scripts(state)).of("default", R1.ordering_key)] == [
        ["signature_request.title"]
    ]


def test_a_repeat_of_an_archived_callback_is_a_duplicate(state: Redis) -> None:
    journal = Journal()
    deployment = filled(state, action(journal))
    calls, before = len(journal.calls), deployment.counters()["duplicate"]
    archive(state)
    deployment.deliver(sent(title="Lease"))
    deployment.run()
    assert deployment.counters()["duplicate"] == before + 1
    assert len(journal.calls) == calls
    assert deployment.timeline()[-1]["kind"] == "duplicate"


def test_a_later_callback_of_an_archived_request_is_put_in_its_order(state: Redis) -> None:
    journal = Journal()
    deployment = filled(state, action(journal))
    archive(state)
    deployment.deliver(viewed(2), viewed(9))
    deployment.run()
    assert journal.types() == ["sent", "viewed", "viewed!", "viewed"]
    assert cast("requests.SignatureRequest", requests.read(state, "default", "r1")).title == "Lease"
    assert archive(state) == 2
    assert [line["kind"] for line in told(state)["timeline"]["entries"]].count("late") == 1


def _failing(error: Exception) -> Callable[[Redis], Deployment]:
    def fill(state: Redis) -> Deployment:
        deployment = Deployment(state, action(Failing(error), attempts=2))
        deployment.deliver(sent())
        deployment.run()
        return deployment

    return fill


def _unfinished(state: Redis) -> None:
    deployment = Deployment(state, action(Journal()))
    deployment.deliver(viewed(3))
    deployment.drain()


def _due_for_a_look(state: Redis) -> None:
    filled(state)
    state.zadd(keys.GAPS_DUE, {STREAM: 2**40})


def _wanted_by_an_application(state: Redis) -> None:
    filled(state)
    state.zadd(keys.CONFIRM_DUE, {STREAM: 0})


def _sequenced(state: Redis) -> None:
    filled(state)
    state.zadd(keys.shards("leased"), {str(shard_of(STREAM)): 2**40})


def _too_many_names(state: Redis) -> None:
    filled(state)
    state.zadd(keys.seen(STREAM), {f"{number:032x}": number for number in range(NAMES_MAX + 1)})


def _too_large(state: Redis) -> None:
    filled(state)
    state.hset(keys.event(seen(state)[0].decode()), stored_event.BODY, b"a" * 2_000_000)


def _foreign(state: Redis) -> None:
    filled(state)
    state.rename(keys.order(STREAM), "other")
    state.lpush(keys.order(STREAM), "theirs")


@pytest.mark.parametrize(
    "make",
    [_unfinished, _failing(ValueError("no")), _due_for_a_look, _wanted_by_an_application, _sequenced, _too_many_names,
     _too_large, _foreign],
)  # fmt: skip
def test_what_is_open_or_too_large_stays_as_it_is_and_keeps_nothing_else_from_being_archived(
    state: Redis, make: Callable[[Redis], object]
) -> None:
    make(state)
    before = held(state)
    archive(state)
    mine = {name for name in before if R1.stream in name}
    assert mine
    assert {name for name in held(state) if R1.stream in name} == mine
    assert not state.exists(keys.request("default:signature_request/r2"))


def test_a_request_with_a_dead_letter_is_archived_once_a_person_has_acted(state: Redis) -> None:
    deployment = filled(state, action(Failing(ValueError("no")), attempts=1))
    assert archive(state) == 0
    Scripts(state).call("discard", "", 1000, *(letter["id"] for letter in deployment.letters()))
    assert archive(state) == 2


def test_no_event_is_read_of_a_request_that_stays_open(state: Redis) -> None:
    """It is looked at again and again, for weeks if nobody acts on its dead letter."""
    filled(state, action(Failing(ValueError("no")), attempts=1))
    state.config_resetstat()
    assert archive(state) == 0
    counts: Any = state.info("commandstats")
    assert counts["cmdstat_hgetall"]["calls"] == 2  # the look-ups of each request


def test_what_was_written_since_it_was_read_is_not_lost(state: Redis) -> None:
    """The archivist reads in several steps; here a callback comes behind the last of them."""
    deployment = filled(state)

    class Late(Archivist):
        def _archive(self, read: Any, now: float) -> None:
            deployment.deliver(viewed(9))
            deployment.run()
            super()._archive(read, now)

    expire(state, keys.QUIET)
    Late(Scripts(state), 60).once()
    assert deployment.kinds().count("released") == 3
    assert not state.exists(keys.archive(STREAM))


def test_what_is_written_beside_an_archive_joins_it(state: Redis) -> None:
    filled(state)
    archive(state)
    state.rpush(keys.timeline(STREAM), json.dumps({"at": 2**31, "kind": "note", "detail": "beside"}))
    state.expire(keys.timeline(STREAM), 1000)
    state.zadd(keys.QUIET, {STREAM: 0})
    told_before = told(state)["timeline"]["entries"]
    assert told_before[-1]["detail"] == "beside"
    assert archive(state) == 2
    assert not state.exists(keys.timeline(STREAM))
    assert told(state)["timeline"]["entries"] == told_before
    state.rpush(keys.timeline(STREAM), json.dumps({"at": 2**31, "kind": "note", "detail": "last"}))
    assert restore(Scripts(state), [STREAM]) == 1
    assert [line["detail"] for line in told(state)["timeline"]["entries"][-2:]] == ["beside", "last"]


def test_a_second_archivist_or_a_repeated_call_changes_nothing(state: Redis) -> None:
    filled(state)
    archive(state)
    before = held(state)
    packed = cast("bytes", state.get(keys.archive(STREAM)))
    done = script_calls.archive(
        Scripts(state), stream=STREAM, shard=shard_of(STREAM), before=b"", lines=0, last_line=b"", names=0,
        terms=0, values=(b"", b"", b""), archive=b"another", ends_at=2**40, quiet_since=None, events=(),
    )  # fmt: skip
    assert not done
    assert held(state).keys() == before.keys()
    assert state.get(keys.archive(STREAM)) == packed
    assert restore(Scripts(state), [STREAM]) == 1
    assert restore(Scripts(state), [STREAM]) == 0
    again = script_calls.restore(Scripts(state), stream=STREAM, archive=packed, ends_at=1, operations=())
    assert not again


def test_an_erasure_of_an_archived_request_leaves_nothing(state: Redis, tmp_path: Path) -> None:
    filled(state)
    facts = [name.decode() for name in seen(state)]
    archive(state)
    removed = erase(state, tmp_path, R1)
    assert removed.events == len(facts) == 3
    assert traces(state, R1.ordering_key, "Lease", *facts) == {keys.erased(STREAM)}
    page = clean_events.read(state, clean_events.START, clean_events.EventFilter())
    assert [event["signature_request_id"] for event in page.events] == ["r2"]


def test_a_request_that_is_archived_while_an_erasure_surveys_it_is_counted_in_whole(
    state: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else `deedbox erase` would say that nothing is known about it."""
    filled(state)
    before = eraser(state, tmp_path).find(R1)
    assert (before.events, before.state) == (3, True)
    look, meanwhile = Holdings.facts, [lambda: archive(state)]

    def facts(holdings: Holdings, stream: str) -> list[str]:
        while meanwhile:
            assert meanwhile.pop()()
        return look(holdings, stream)

    monkeypatch.setattr(Holdings, "facts", facts)
    assert eraser(state, tmp_path).find(R1) == before
    assert not meanwhile


def test_an_archive_that_cannot_be_read_is_moved_away_and_stops_nothing(state: Redis) -> None:
    journal = Journal()
    deployment = filled(state, action(journal))
    archive(state)
    state.set(keys.archive(STREAM), b"theirs")
    calls = len(journal.calls)
    deployment.deliver(callback(P + "remind", 9))
    deployment.run()
    assert len(journal.calls) == calls + 1
    assert state.get("deedbox:foreign:" + keys.archive(STREAM)) == b"theirs"


def test_bodies_end_before_the_rest_does(state: Redis) -> None:
    filled(state)
    for name in state.scan_iter(keys.event("*")):
        state.pexpire(name, 1500)
    assert archive(state) == 2
    assert len(History(state).past(STREAM, EVER).events) == 2
    until(lambda: History(state).past(STREAM, EVER).expired == 2, "their time is over")
    before = len(cast("bytes", state.get(keys.archive(STREAM))))

    def dropped() -> bool:
        Archivist(Scripts(state), 60).once()
        found = StreamArchive.load(cast("bytes", state.get(keys.archive(STREAM))))
        return bool(found) and not cast("StreamArchive", found).events

    until(dropped, "the archive without bodies")
    assert len(cast("bytes", state.get(keys.archive(STREAM)))) < before
    assert told(state)["timeline"]["entries"]
    assert not state.zcard(keys.QUIET)


def test_a_better_body_of_an_archived_fact_wins(state: Redis) -> None:
    deployment = Deployment(state, action(Journal()))
    deployment.deliver(sent(), verdict=BodySignature.ABSENT)
    deployment.run()
    assert archive(state) == 1
    deployment.deliver(sent(), verdict=BodySignature.VALID)
    deployment.run()
    [fact] = seen(state)
    assert event_at(state, keys.event(fact.decode())).body_signature == "valid"
