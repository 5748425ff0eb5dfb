"""An erasure destroys the data key; with a rotation, an old copy is as unreadable as what is there now."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from deedbox.ops.installation import Installation
from deedbox.ops.repair import index_pages
from deedbox.ops.repair.rotation import Rotation, rotate
from deedbox.shared.core.errors import DeedboxError, Undecodable
from deedbox.shared.documents import DocumentStore, FileTree
from deedbox.shared.documents.file_tree import FileTree as Files
from deedbox.shared.records.stored_event import StoredEvent
from deedbox.shared.redis import data_keys, keys, script_calls
from deedbox.shared.redis.erasure import Asker, Eraser, Removed
from deedbox.shared.redis.inbox import callback_in
from deedbox.shared.redis.request_keys import Holdings, Subject
from deedbox.shared.redis.scripting import Scripts
from deedbox.shared.retention import Retention
from deedbox.shared.sealing.key_ring import key_id
from deedbox.shared.settings import Settings
from tests.component.vault.rings import MARKER, NEW, OLD, PDF, STREAM, fill, use, waiting
from tests.component.workers.server import RedisServer, server_binary

pytestmark = pytest.mark.real_redis


def subject(request_id: str) -> Subject:
    return Subject("default", f"signature_request/{request_id}")


def erase(redis: Redis, folder: Path, request_id: str) -> Removed:
    eraser = Eraser(Scripts(redis), DocumentStore(FileTree(folder)), Retention())
    return eraser.erase(subject(request_id), documents=True, by=Asker.OPERATOR)


def bodies(redis: Redis, stream: str) -> bytes:
    """Open every stored event of a stream."""
    found = b""
    for name in Holdings(redis).facts(stream):
        stored = StoredEvent.load(name, redis.hgetall(keys.event(name)))  # type: ignore[arg-type]
        if isinstance(stored, StoredEvent):
            found += repr(data_keys.opened(redis, stored)[0].payload()).encode()
    return found


def read_model(redis: Redis, stream: str) -> bytes:
    model: Any = redis.get(keys.request(stream))
    return data_keys.open_value(redis, stream, model or b"")


def documents(folder: Path, request_id: str) -> bytes:
    store, found = DocumentStore(FileTree(folder)), b""
    for path in (folder / "default" / request_id).glob("*.sealed"):
        with store.open("default", request_id, path.name.partition(".")[0], "pdf") as file:
            found += file.read()
    return found


def read(redis: Redis, folder: Path, request_id: str) -> set[str]:
    """Return where this process, with its ring, can read something about a request."""
    data_keys._caches.clear()
    stream, found = STREAM.format(request_id), set()
    attempts: dict[str, Callable[[], bytes]] = {
        "bodies": lambda: bodies(redis, stream),
        "read model": lambda: read_model(redis, stream),
        "documents": lambda: documents(folder, request_id),
    }
    for what, attempt in attempts.items():
        with suppress(DeedboxError):
            if MARKER.encode() in attempt():
                found.add(what)
    return found


EVERYTHING = {"bodies", "read model", "documents"}


def installation(url: str, folder: Path) -> Installation:
    """Return one whose ring is that of this process."""
    settings = Settings.load({"DEEDBOX_REDIS_URL": url, "DEEDBOX_DOCUMENTS_URL": folder.resolve().as_uri()})
    made = object.__new__(Installation)
    made.settings = settings
    return made


@contextmanager
def restored(backup: Path) -> Iterator[Redis]:
    """Start a Redis on a copy of another one's files."""
    server = RedisServer(server_binary(), backup)
    server.start()
    try:
        with server.client() as client:
            yield client
    finally:
        server.stop()


def test_after_erasure_and_rotation_an_old_copy_cannot_be_read_with_the_new_ring(
    fragile: RedisServer, tmp_path: Path
) -> None:
    use(OLD)
    folder, backup = tmp_path / "documents", tmp_path / "backup"
    with fragile.client() as redis:
        fill(redis, folder, "r1", "r2")
        message = waiting(redis, "r3")
        redis.delete(*redis.scan_iter(keys.PREFIX + "inbox:*"))  # it was worked off meanwhile
        for source in ("redis", "documents"):
            shutil.copytree(tmp_path / source, backup / source)
        assert read(redis, folder, "r1") == EVERYTHING
        removed = erase(redis, folder, "r1")
        assert removed.data_key
        assert removed.documents_key
        use(NEW, OLD)
        rotated = rotate(installation(fragile.url, folder))
        assert (rotated.rewrapped, rotated.documents, rotated.removable) == (1, 1, [key_id(OLD)])
        use(NEW)
        assert read(redis, folder, "r2") == EVERYTHING
        assert read(redis, folder, "r1") == set()
    with restored(backup / "redis") as copy:
        for ring, expected in (((OLD,), EVERYTHING), ((NEW,), set())):
            use(*ring)
            assert read(copy, backup / "documents", "r1") == expected
            assert (MARKER.encode() in callback_in(message)) == bool(expected), "a copy of spool or broker"


def test_without_its_key_what_an_erasure_missed_cannot_be_read_even_with_the_ring(
    state: Redis, tmp_path: Path
) -> None:
    use(OLD)
    fill(state, tmp_path, "r1")
    left = {name: state.hgetall(keys.event(name)) for name in Holdings(state).facts(STREAM.format("r1"))}
    erase(state, tmp_path, "r1")
    data_keys._caches.clear()
    for name, fields in left.items():
        stored = StoredEvent.load(name, fields)  # type: ignore[arg-type]
        assert isinstance(stored, StoredEvent)
        with pytest.raises(Undecodable, match="key of an encrypted text is gone"):
            data_keys.opened(state, stored)


class Killed(BaseException):
    """The process ended here."""


@pytest.mark.parametrize("step", range(8))
def test_a_rotation_that_is_killed_leaves_everything_readable_and_goes_on(
    redis_server: RedisServer, state: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Before and after each write: two data keys in Redis, and two of documents."""
    use(OLD)
    fill(state, tmp_path, "r1", "r2")
    use(NEW, OLD)
    monkeypatch.setattr(index_pages, "PAGE", 1)
    passed = 0

    def deadly(write: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **named: Any) -> Any:
            nonlocal passed
            passed += 1
            if passed == step + 1:
                raise Killed
            done = write(*args, **named)
            passed += 1
            if passed == step + 1:
                raise Killed
            return done

        return run

    with monkeypatch.context() as patched:
        patched.setattr(script_calls, "rewrap", deadly(script_calls.rewrap))
        patched.setattr(Files, "replace", deadly(Files.replace))
        with pytest.raises(Killed):
            rotate(installation(redis_server.url, tmp_path))
    for request_id in ("r1", "r2"):
        assert read(state, tmp_path, request_id) == EVERYTHING
    done = rotate(installation(redis_server.url, tmp_path))
    assert done.removable == [key_id(OLD)]
    use(NEW)
    for request_id in ("r1", "r2"):
        assert read(state, tmp_path, request_id) == EVERYTHING


def test_an_old_key_is_needed_while_a_callback_under_it_waits(
    redis_server: RedisServer, state: Redis, tmp_path: Path
) -> None:
    use(OLD)
    message = waiting(state, "r1")
    state.lpush(keys.RAW_QUEUE, message)
    use(NEW, OLD)

    def turn() -> Rotation:
        return rotate(installation(redis_server.url, tmp_path))

    assert (turn().waiting, turn().removable) == ({key_id(OLD): 2}, [])
    state.delete(keys.RAW_QUEUE)
    fill(state, tmp_path)
    state.delete(*state.scan_iter(keys.PREFIX + "inbox:*"))
    assert turn().removable == [key_id(OLD)]


def test_a_spool_that_holds_something_keeps_every_key(
    redis_server: RedisServer, state: Redis, tmp_path: Path
) -> None:
    use(NEW, OLD)
    state.hset(keys.SPOOLS, "host", "not to be read")
    found = rotate(installation(redis_server.url, tmp_path))
    assert (found.unseen, found.removable) == (["callbacks in the spool of a host"], [])


def test_documents_are_stored_once_whoever_writes_and_open_as_they_came(tmp_path: Path) -> None:
    use(OLD)
    store = DocumentStore(FileTree(tmp_path))
    first = store.put("default", "r1", PDF, "pdf", {"title": MARKER})
    again = store.put("default", "r1", PDF, "pdf", {"title": MARKER})
    assert first == again
    assert first.url.endswith(".pdf.sealed")
    with store.open("default", "r1", first.sha256, "pdf") as file:
        assert file.read() == PDF
