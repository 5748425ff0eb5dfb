"""Erasing a request beside running processes."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.client import Pipeline

from deedbox.shared.core.errors import DeedboxError
from deedbox.shared.documents import DocumentStore, FileTree, Unwanted, digest_of
from deedbox.shared.records.replay_order import ReplayOrder, ReplaySpan
from deedbox.shared.redis import inbox, keys
from deedbox.shared.redis.erasure import Asker, Eraser, Removed
from deedbox.shared.redis.request_keys import CHUNK, Holdings, Subject
from deedbox.shared.redis.scripting import Scripts
from deedbox.shared.retention import Retention
from deedbox.workers.actions.interface import Context, Event, Reject, Retry
from deedbox.workers.builtins.track_status import registered
from tests.component.workers.keyspace import everything, traces
from tests.component.workers.rig import (
    Deployment,
    Journal,
    action,
    declare,
    depth,
    members,
    message,
    sent,
    viewed,
)

pytestmark = pytest.mark.real_redis

R1, R2 = Subject("default", "signature_request/r1"), Subject("default", "signature_request/r2")
NAME = "Jane Doe"


def eraser(redis: Redis, tmp_path: Path, retention: Retention = Retention()) -> Eraser:  # noqa: B008 - frozen
    return Eraser(Scripts(redis), DocumentStore(FileTree(tmp_path)), retention)


def erase(redis: Redis, tmp_path: Path, subject: Subject = R1, *, documents: bool = False) -> Removed:
    return eraser(redis, tmp_path).erase(subject, documents=documents, by=Asker.OPERATOR)


def busy(state: Redis) -> tuple[Deployment, Journal]:
    """Fill every place that can hold something of a request: two requests, of which the first has a bit of all."""

    def fail(_event: Event, _context: Context) -> None:
        raise Reject(f"{NAME} is unknown")

    def later(_event: Event, _context: Context) -> None:
        raise Retry("later", after=60)

    journal = Journal()
    deployment = Deployment(
        state, action(journal), action(fail, name="crm"), action(later, name="slow", lane="side"),
        action(later, name="loose", lane="side", ordered=False), registered(),
    )  # fmt: skip
    for request_id in ("r1", "r2"):
        deployment.deliver(sent(0, request_id, title=NAME), sent(0, request_id, title=f"another for {NAME}"))
        deployment.run()
        proof = {"signature_id": "s2", "signed_at": 1_800_000_005}
        deployment.deliver(viewed(9, request_id, title=NAME), sent(0, request_id, title=NAME))
        deployment.run()
        waiting = json.loads(viewed(20, request_id, title=NAME))
        waiting["signature_request"]["signatures"].append(proof)
        deployment.deliver(json.dumps(waiting).encode())
        deployment.run()
    return deployment, journal


def test_nothing_of_an_erased_request_stays_and_nothing_of_another_goes(state: Redis, tmp_path: Path) -> None:
    deployment, _ = busy(state)
    assert {"held", "conflict", "duplicate", "dead", "retry"} <= set(deployment.kinds())
    other = traces(state, "r2")
    facts = Holdings(state).facts(R1.stream)
    rest = {name: held for name, held in everything(state).items() if "r2" in name}

    removed = erase(state, tmp_path)

    assert traces(state, "r1", *facts) == {keys.erased(R1.stream)}
    assert (removed.events, removed.held, removed.letters) == (4, 1, 2)
    assert removed.queued == 4
    assert {name: held for name, held in everything(state).items() if "r2" in name} == rest
    assert traces(state, "r2") == other
    depths = depth(state)
    assert depths == sum(state.llen(key) for key in state.scan_iter(keys.queue("*")))


def test_the_other_request_goes_on(state: Redis, tmp_path: Path) -> None:
    deployment, journal = busy(state)
    erase(state, tmp_path)
    deployment.deliver(viewed(5, "r2"))
    deployment.run()
    assert journal.types("r2") == ["sent", "viewed", "viewed!"]


def test_late_repeats_and_new_events_are_counted_duplicates_and_kept_nowhere(
    state: Redis, tmp_path: Path
) -> None:
    deployment, journal = busy(state)
    erase(state, tmp_path)
    before, called = deployment.counters(), len(journal.calls)
    deployment.deliver(sent(0, title=NAME), viewed(9, title=NAME), viewed(500, title="Never seen"))
    deployment.run()
    assert deployment.counters() - before == {"arrived": 3, "duplicate": 3, "body_signature_valid": 3}
    assert len(journal.calls) == called
    assert traces(state, "r1") == {keys.erased(R1.stream)}
    assert "Never seen" not in str(everything(state))


@pytest.mark.parametrize("moment", ["_load", "_decide"])
def test_an_erasure_between_the_sequencers_look_and_its_commit_is_not_undone(
    state: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    deployment, journal = busy(state)
    original = getattr(deployment.sequencer, moment)

    def interrupted(*arguments: Any) -> Any:
        result = original(*arguments)
        erase(state, tmp_path)
        return result

    monkeypatch.setattr(deployment.sequencer, moment, interrupted)
    deployment.deliver(viewed(7, title=NAME), viewed(8, "r2"))
    deployment.run()
    assert traces(state, "r1") == {keys.erased(R1.stream)}
    assert journal.types("r2")[-1] == "viewed!", "the rest of that commit counts"


def test_a_call_that_runs_during_the_erasure_ends_and_leaves_nothing(state: Redis, tmp_path: Path) -> None:
    calls: list[str] = []

    def act(event: Event, context: Context) -> None:
        erase(state, tmp_path)
        calls.append(event.type)
        context.emit("deedbox.document_stored", {"of": NAME})
        if event.type.endswith("viewed"):
            raise ValueError(NAME)

    journal = Journal()
    deployment = Deployment(state, action(act, attempts=1), action(journal, "deedbox.*", name="hook"))
    deployment.deliver(sent(title=NAME), viewed(3, title=NAME))
    deployment.run()
    assert len(calls) == 1, "the event behind it never begins"
    assert journal.calls == []
    assert deployment.letters() == []
    assert traces(state, "r1", NAME) == {keys.erased(R1.stream)}
    assert deployment.left() == depth(state) == 0


def test_a_status_that_was_read_before_the_erasure_is_not_written_after_it(
    state: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment = Deployment(state, registered())
    mget = state.mget

    def slow(names: list[str]) -> Any:
        values = mget(names)
        monkeypatch.setattr(state, "mget", mget)
        erase(state, tmp_path)
        return values

    monkeypatch.setattr(state, "mget", slow)
    deployment.deliver(sent(title=NAME))
    deployment.run()
    assert traces(state, "r1") == {keys.erased(R1.stream)}


def test_messages_set_aside_are_searched_for_the_request(state: Redis, tmp_path: Path) -> None:
    """Their envelope may be readable by now or not; either way they must not keep a body."""
    readable, broken = (
        message(sent(0, "r1")),
        message(sent(0, "r1")).replace(b'"deedbox":[1,', b'"deedbox":[9,'),
    )
    load = inbox.Load()
    load.quarantined = [(raw, "?") for raw in (readable, broken, message(sent(0, "r2")), b"junk")]
    inbox.append(Scripts(state), load)
    assert len(eraser(state, tmp_path).find(R1).letters) == 2
    assert erase(state, tmp_path).letters == 2
    assert state.zcard(keys.DEAD) == 2


def test_entries_of_an_action_that_nobody_announces_any_more_go_too(state: Redis, tmp_path: Path) -> None:
    deployment, _ = busy(state)
    declare(state, newer="side")
    deployment.sweeper.once()
    erase(state, tmp_path)
    assert not list(state.scan_iter(keys.queue("*r1*")))


@pytest.mark.parametrize("part", ["ready", "waiting", "parked", "leased"])
def test_calls_that_waited_for_longer_than_the_dedupe_memory_lives_go_too(
    state: Redis, tmp_path: Path, part: str
) -> None:
    """An unordered call has a unit for itself, and once its event is forgotten nothing of the stream names it."""
    deployment = Deployment(state, action(Journal(), name="loose", ordered=False))
    for request_id in ("r1", "r2"):
        deployment.deliver(sent(0, request_id, title=NAME), viewed(3, request_id, title=NAME))
    deployment.drain()
    ready = keys.action("loose", "ready")
    for unit in members(state, ready):
        state.zrem(ready, unit)
        state.zadd(keys.action("loose", part), {unit: 1.0})
    state.delete(keys.seen(R1.stream), keys.order(R1.stream), keys.timeline(R1.stream))

    removed = erase(state, tmp_path)

    assert (removed.events, removed.queued) == (2, 2)
    running = {keys.action("loose", "leased")} if part == "leased" else set()
    assert traces(state, "r1") == {keys.erased(R1.stream)} | running, (
        "the lease of a call that runs ends with it"
    )
    assert depth(state) == len(list(state.scan_iter(keys.queue("*")))) == 2


def test_an_interrupted_erasure_is_finished_by_the_next(
    state: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy(state)
    store = DocumentStore(FileTree(tmp_path))
    stored = store.put("default", "r1", b"%PDF-", "pdf", {})

    def full(*_arguments: object) -> list[Path]:
        raise KeyboardInterrupt

    monkeypatch.setattr(DocumentStore, "erase", full)
    with pytest.raises(KeyboardInterrupt):
        erase(state, tmp_path, documents=True)
    monkeypatch.undo()
    removed = erase(state, tmp_path, documents=True)
    assert [digest_of(file) for file in removed.documents] == [stored.sha256] * 2
    assert traces(state, "r1") == {keys.erased(R1.stream)}


@pytest.mark.parametrize("key", ["template/t1", "account/a1", "type/callback_test"])
def test_what_goes_on_cannot_be_erased(state: Redis, tmp_path: Path, key: str) -> None:
    with pytest.raises(DeedboxError, match="later events"):
        erase(state, tmp_path, Subject("default", key))
    assert state.dbsize() == 0


# --- documents


def test_interrupted_replays_are_found_in_pieces(state: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: no round trip of an erasure reads more than a piece, however many replays there were."""
    order = ReplayOrder(("crm",), ReplaySpan()).dump()
    state.set(keys.REPLAY_SEQ, 3 * CHUNK)
    state.mset({keys.replay(number): order for number in range(1, 3 * CHUNK + 1)})
    for number in (1, 2 * CHUNK, 3 * CHUNK):
        state.hset(keys.replay_done(number), R1.stream, "x")
    state.set(keys.replay(7), ReplayOrder(("crm",), ReplaySpan(), R1.source, R1.ordering_key).dump())
    lengths: list[int] = []
    execute = Pipeline.execute

    def counted(pipe: Pipeline) -> Any:
        lengths.append(len(pipe.command_stack))
        return execute(pipe)

    monkeypatch.setattr(Pipeline, "execute", counted)
    found = Holdings(state).replays(R1)
    assert found == {3 * CHUNK: False, 2 * CHUNK: False, 7: True, 1: False}
    assert max(lengths) <= CHUNK


def test_erasing_never_leaves_the_folder_of_the_request(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "documents"
    outside.mkdir()
    kept = outside / "kept.pdf"
    kept.write_bytes(b"kept")
    store = DocumentStore(FileTree(root))
    store.put("default", "r2", b"1", "pdf", {})
    store.put("default", "r1", b"1", "pdf", {})
    (root / "default" / "r1" / "link.pdf").symlink_to(kept)
    (root / "default" / "r1" / "deeper").symlink_to(outside)
    (root / "default" / "linked").symlink_to(outside)
    for name in ("..", ".", "", "../../outside", "/", str(outside), "linked"):
        assert store.erase("default", name) == store.erase(name, "r2") == []
    assert len(store.erase("default", "r1")) == 4, "links are removed, not followed"
    assert kept.read_bytes() == b"kept"
    assert len(store.files("default", "r2")) == 2


@pytest.mark.parametrize("when", ["before its look", "after its look"])
def test_a_document_on_its_way_is_not_put_back(state: Redis, tmp_path: Path, when: str) -> None:
    """Erased after the download and before the file appears, or while it appears."""
    store = DocumentStore(FileTree(tmp_path))
    store.put("default", "r1", b"old", "pdf", {})
    began: list[threading.Thread] = []

    def wanted() -> bool:
        answer = not state.exists(keys.erased(R1.stream))
        if when == "after its look":
            began.append(threading.Thread(target=erase, args=(state, tmp_path), kwargs={"documents": True}))
            began[0].start()  # it waits for the writer's lock
            began[0].join(0.2)
        return answer

    if when == "before its look":
        erase(state, tmp_path, documents=True)
        with pytest.raises(Unwanted):
            store.put("default", "r1", b"new", "pdf", {}, wanted)
    else:
        store.put("default", "r1", b"new", "pdf", {}, wanted)
        began[0].join(10)
    assert list(tmp_path.glob("[!.]*")) == [tmp_path / "default"]
    assert list((tmp_path / "default").iterdir()) == []
