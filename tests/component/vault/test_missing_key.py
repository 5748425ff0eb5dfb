"""A key that is not in the ring loses nothing: dead letters that name it, and a redrive once it is back."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from redis import Redis

from deedbox.ops.repair.deadletters import EVERYTHING, DeadLetters
from deedbox.ops.repair.redrive import Redriver
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.errors import Unavailable
from deedbox.shared.documents import Altered, DocumentStore, FileTree
from deedbox.shared.redis import data_keys, inbox, keys
from deedbox.shared.redis.erasure import Asker, Eraser
from deedbox.shared.redis.inbox import Load
from deedbox.shared.redis.request_keys import Subject
from deedbox.shared.retention import Retention
from deedbox.shared.sealing.key_ring import key_id
from deedbox.workers.actions.interface import Context, Event, Reject
from tests.component.conftest import Operate
from tests.component.vault.rings import MARKER, NEW, OLD, PDF, STREAM, TITLE, fill, use
from tests.component.workers.keyspace import traces
from tests.component.workers.rig import Deployment, Journal, action, envelope, message, sent, viewed

pytestmark = pytest.mark.real_redis


def another_process(*ring: bytes) -> None:
    """Go on as a process that was started with this ring."""
    data_keys._caches.clear()
    use(*ring)


def redrive(deployment: Deployment) -> int:
    """Send every dead letter back. Returns how many."""
    redriver = Redriver(deployment.scripts, deployment.rung.append)
    letters = DeadLetters(deployment.scripts).select(EVERYTHING)
    done = redriver.carry_out(redriver.plan(letters)).redriven
    load = Load()
    while (message := deployment.redis.lpop(keys.REDRIVE)) is not None:  # as the bridge does it
        load.add_message(message)  # type: ignore[arg-type]
    inbox.append(deployment.scripts, load)
    return done


def assert_comes_back(deployment: Deployment, journal: Journal) -> None:
    """Put the key back and redrive: the action is called as if nothing had been."""
    another_process(OLD)
    assert redrive(deployment) == 1
    deployment.run()
    assert [event.payload["signature_request"]["title"] for event, _ in journal.calls] == [TITLE]
    assert deployment.letters() == []


@pytest.mark.parametrize("ring", [(), (NEW,)], ids=["no ring", "another ring"])
def test_a_callback_that_cannot_be_opened_waits_as_a_dead_letter_until_its_key_is_back(
    state: Redis, ring: tuple[bytes, ...]
) -> None:
    journal = Journal()
    deployment = Deployment(state, action(journal))
    use(OLD)
    deployment.deliver(sent(title=TITLE))
    another_process(*ring)
    deployment.run()
    [letter] = deployment.letters()
    assert letter["reason"] == b"key_missing"
    assert key_id(OLD).encode() in letter["detail"]
    assert journal.calls == []
    assert_comes_back(deployment, journal)


@pytest.mark.parametrize("ring", [(), (NEW,)], ids=["no ring", "another ring"])
def test_a_call_whose_event_cannot_be_opened_waits_as_a_dead_letter_until_its_key_is_back(
    state: Redis, ring: tuple[bytes, ...]
) -> None:
    journal = Journal()
    deployment = Deployment(state, action(journal))
    use(OLD)
    deployment.deliver(sent(title=TITLE))
    deployment.drain()
    another_process(*ring)
    deployment.work()
    [letter] = deployment.letters()
    assert (letter["reason"], letter["action"]) == (b"key_missing", b"journal")
    assert_comes_back(deployment, journal)


def test_a_callback_of_a_request_whose_data_key_cannot_be_unwrapped_is_not_stored_in_the_open(
    state: Redis,
) -> None:
    journal = Journal()
    deployment = Deployment(state, action(journal))
    use(OLD)
    deployment.deliver(sent(title=TITLE))
    deployment.run()
    another_process(NEW)
    deployment.deliver(viewed(5, title=TITLE), sent(0, "r2", title=TITLE))
    deployment.run()
    assert deployment.reasons() == ["key_missing"]
    assert journal.types("r2") == ["sent"], "other requests go on"
    another_process(NEW, OLD)
    assert redrive(deployment) == 1
    deployment.run()
    assert journal.types("r1") == ["sent", "viewed"]


@pytest.mark.parametrize("way", ["inbox", "broker", "spool"])
def test_an_erasure_reaches_a_callback_that_cannot_be_opened(state: Redis, tmp_path: Path, way: str) -> None:
    """Whichever way it came: what is sealed says beside the body which request it is about."""
    use(OLD)
    deployment = Deployment(state, action(Journal()))
    for request_id in ("first-of-two", "second-of-two"):
        callback = sent(0, request_id, title=TITLE)
        load = Load()
        if way == "broker":
            load.add_message(message(callback))
        else:
            sealed = envelope(callback)
            load.add(Envelope.unpack(sealed.pack()) if way == "spool" else sealed)
        inbox.append(deployment.scripts, load)
    another_process(NEW)
    deployment.run()
    assert deployment.reasons() == ["key_missing"] * 2
    eraser = Eraser(deployment.scripts, DocumentStore(FileTree(tmp_path)), Retention())
    subject = Subject("default", "signature_request/first-of-two")
    assert len(eraser.find(subject).letters) == 1
    assert eraser.erase(subject, documents=False, by=Asker.OPERATOR).letters == 1
    assert traces(state, "first-of-two") == {keys.erased(subject.stream)}
    [left] = deployment.letters()
    assert left["key"] == b"signature_request/second-of-two"


def test_a_read_model_that_cannot_be_opened_is_neither_replaced_nor_taken_for_empty(
    state: Redis, tmp_path: Path
) -> None:
    use(OLD)
    fill(state, tmp_path, "r1")
    before = state.get(keys.request(STREAM.format("r1")))
    another_process(NEW)
    with pytest.raises(Unavailable, match=key_id(OLD)):
        data_keys.open_value(state, STREAM.format("r1"), before)  # type: ignore[arg-type]
    deployment = fill(state, tmp_path).deployment
    deployment.deliver(viewed(9, title=TITLE))
    deployment.run()
    assert state.get(keys.request(STREAM.format("r1"))) == before


def test_a_data_key_lives_as_long_as_anything_that_it_seals(state: Redis) -> None:
    """A dead letter keeps its event without an end: so it must keep the key, too."""

    def fail(_event: Event, _context: Context) -> None:
        raise Reject("no")

    use(OLD)
    deployment = Deployment(state, action(fail))
    deployment.deliver(sent(title=TITLE))
    deployment.drain()
    key = keys.data_key(STREAM.format("r1"))
    assert state.ttl(key) == -1
    deployment.work()
    assert state.ttl(key) == -1
    letters = DeadLetters(deployment.scripts)
    letters.discard(letters.select(EVERYTHING))
    state_s = 14 * 86_400
    assert 0 < state.ttl(key) <= state_s
    deployment.deliver(viewed(5, title=TITLE))
    deployment.drain()
    assert state.ttl(key) == -1


def test_operators_read_letters_traces_and_bodies_as_they_are(
    state: Redis, operate: Operate, tmp_path: Path
) -> None:
    use(OLD)
    fill(state, tmp_path / "documents", "r1")
    ring = {"DEEDBOX_ENCRYPTION_KEYS": OLD.hex()}
    assert MARKER in operate("trace", "r1", **ring).out
    letter = operate("dead", "show", "1", "--raw", **ring)
    assert f"{MARKER} is unknown" in letter.out
    assert f"{MARKER}@example.com" in letter.out
    assert "DEEDBOX_ENCRYPTION_KEYS" in operate("dead", "show", "1", "--raw").sentence
    [other] = operate("conflict", "list", "r1", "--json", **ring).document["conflicts"]
    assert operate("conflict", "show", "r1", other["body"], **ring).code == 0


def test_check_names_the_key_that_stored_data_needs(state: Redis, operate: Operate, tmp_path: Path) -> None:
    use(OLD)
    fill(state, tmp_path / "documents", "r1")

    def finding(**ring: str) -> tuple[str, str]:
        rows = operate("check", "--offline", "--json", **ring).document["checks"]
        return next(
            ((row["verdict"], row["detail"]) for row in rows if row["name"] == "encryption"), ("", "")
        )

    assert finding(DEEDBOX_ENCRYPTION_KEYS=OLD.hex())[0] == "ok"
    for ring in ({}, {"DEEDBOX_ENCRYPTION_KEYS": NEW.hex()}):
        verdict, detail = finding(**ring)
        assert verdict == "failed"
        assert f"needs the encryption key {key_id(OLD)}, which is not in DEEDBOX_ENCRYPTION_KEYS" in detail
    both = {"DEEDBOX_ENCRYPTION_KEYS": f"{NEW.hex()},{OLD.hex()}"}
    assert finding(**both)[0] == "warning"
    rotated = operate("rotate-keys", **both)
    assert f"Nothing is encrypted under the key {key_id(OLD)}:" in rotated.out
    assert finding(DEEDBOX_ENCRYPTION_KEYS=NEW.hex())[0] == "ok"


def test_an_erasure_writes_a_receipt_without_personal_data(
    state: Redis, operate: Operate, tmp_path: Path
) -> None:
    use(OLD)
    fill(state, tmp_path / "documents", "secret-id")
    ring = {"DEEDBOX_ENCRYPTION_KEYS": OLD.hex()}
    key = state.hget(keys.data_key(STREAM.format("secret-id")), "id")
    file = tmp_path / "receipt.json"
    done = operate("erase", "secret-id", "--yes", "--documents", "--receipt", str(file), **ring)
    assert done.code == 0
    text = file.read_text()
    receipt = json.loads(text)
    assert "secret-id" not in text
    assert MARKER not in text
    name = b"default\0signature_request/secret-id"
    assert receipt["subject_sha256"] == hashlib.sha256(name).hexdigest()
    assert receipt["destroyed_keys"]["state"] == key.decode()  # type: ignore[union-attr]
    assert receipt["destroyed_keys"]["documents"]
    assert receipt["removed"] == {
        "events": 4, "queue_entries": 0, "dead_letters": 2, "held": 0, "document_files": 3,
    }  # fmt: skip
    refused = operate("erase", "secret-id", "--yes", "--receipt", str(file), **ring)
    assert refused.code != 0 or file.read_text() == text, "a receipt is never overwritten"


def test_a_document_that_was_changed_or_whose_key_is_missing_is_not_handed_out(tmp_path: Path) -> None:
    use(OLD)
    store = DocumentStore(FileTree(tmp_path))
    stored = store.put("default", "r1", PDF, "pdf", {})
    other = store.put("default", "r2", PDF, "pdf", {})
    use(NEW)
    with pytest.raises(Unavailable, match=key_id(OLD)):
        store.open("default", "r1", stored.sha256, "pdf")
    use(OLD)
    here, there = (tmp_path / "default" / name / f"{stored.sha256}.pdf.sealed" for name in ("r1", "r2"))
    here.write_bytes(there.read_bytes())
    with pytest.raises(Altered):
        store.open("default", "r1", stored.sha256, "pdf")
    with store.open("default", "r2", other.sha256, "pdf") as file:
        assert file.read() == PDF


def test_what_was_stored_before_there_was_a_ring_stays_readable(state: Redis, tmp_path: Path) -> None:
    use()
    filled = fill(state, tmp_path, "r1")
    another_process(OLD)
    filled.deployment.deliver(viewed(9, title=TITLE))
    filled.deployment.run()
    model = state.get(keys.request(STREAM.format("r1")))
    assert MARKER.encode() in data_keys.open_value(state, STREAM.format("r1"), model)  # type: ignore[arg-type]
    digest = next((tmp_path / "default" / "r1").glob("*.pdf")).stem
    with filled.store.open("default", "r1", digest, "pdf") as file:
        assert file.read() == PDF
