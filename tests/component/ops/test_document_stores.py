"""Documents that were stored by another host, into a directory that this host cannot read."""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path

import pytest
from redis import Redis

from deedbox.ops.checks import document_stores
from deedbox.ops.checks.finding import Finding, Verdict
from deedbox.ops.installation import Installation
from deedbox.shared.core.errors import DeedboxError, SettingsError
from deedbox.shared.documents import DocumentStore, FileTree, StoreMark, StoreMarks
from deedbox.shared.records.document_record import DocumentRecord
from deedbox.shared.redis import keys
from deedbox.shared.redis.erasure import Asker, Eraser
from deedbox.shared.redis.request_keys import Subject
from deedbox.shared.redis.scripting import Scripts
from deedbox.shared.retention import Retention
from deedbox.shared.settings import Settings
from deedbox.shared.sources import parse_sources
from tests.component.workers.server import RedisServer

pytestmark = pytest.mark.real_redis

R1 = Subject("default", "signature_request/r1")
HERE = socket.gethostname()


def stored_by(
    state: Redis, folder: Path, host: str, at: float = 1.0, request_id: str = "r1"
) -> DocumentStore:
    """Store a document as ``fetch_documents`` on some host does."""
    store = DocumentStore(FileTree(folder))
    found = store.put("default", request_id, b"%PDF- " + host.encode(), "pdf", {})
    StoreMarks(state).note(StoreMark(store.mark(), host, str(folder), at), keep_s=100)
    row = {
        "sha256": found.sha256,
        "size": found.size,
        "url": found.url,
        "fetched_at": at,
        "trigger": "x",
        "store": store.mark(),
    }
    state.set(keys.document(f"default:signature_request/{request_id}"), DocumentRecord([row]).dump())
    return store


@pytest.fixture
def installation(redis_server: RedisServer, tmp_path: Path) -> Installation:
    return Installation(
        Settings.load({
            "DEEDBOX_API_KEYS": "k", "DEEDBOX_REDIS_URL": redis_server.url, "DEEDBOX_DATA_DIR": str(tmp_path / "here"),
        })
    )  # fmt: skip


def finding(installation: Installation) -> Finding:
    [found] = document_stores.check(installation)
    return found


def test_one_store_that_all_hosts_use_is_well(state: Redis, installation: Installation) -> None:
    assert finding(installation).verdict is Verdict.OK
    for host in (HERE, "work1"):
        stored_by(state, installation.settings.data_dir / "documents", host)
    assert finding(installation).verdict is Verdict.OK


def test_a_host_that_cannot_read_what_is_stored_is_told_whose_it_is(
    state: Redis, installation: Installation, tmp_path: Path
) -> None:
    stored_by(state, tmp_path / "there", "work1")
    found = finding(installation)
    assert found.verdict is Verdict.WARNING
    assert f"work1 stored in {tmp_path / 'there'}, last on 1970-01-01" in found.detail
    assert "DEEDBOX_DOCUMENTS_URL" in found.fix


def test_hosts_that_store_apart_fail_the_check(
    state: Redis, installation: Installation, tmp_path: Path
) -> None:
    stored_by(state, installation.settings.data_dir / "documents", HERE)
    stored_by(state, tmp_path / "there", "work1")
    found = finding(installation)
    assert found.verdict is Verdict.FAILED
    assert "2 stores" in found.detail


def test_a_store_that_was_emptied_is_a_warning(
    state: Redis, installation: Installation, tmp_path: Path
) -> None:
    stored_by(state, tmp_path / "before", HERE)
    stored_by(state, installation.settings.data_dir / "documents", HERE, at=2.0)
    assert "emptied or moved" in finding(installation).detail


def test_a_store_without_a_document_for_the_retention_time_is_forgotten(state: Redis, tmp_path: Path) -> None:
    stored_by(state, tmp_path / "old", "gone", at=1.0)
    stored_by(state, tmp_path / "new", "work1", at=102.0)
    assert [mark.host for mark in StoreMarks(state).all()] == ["work1"]


def test_an_unreadable_mark_hides_no_other(state: Redis, tmp_path: Path) -> None:
    state.hset(keys.STORES, "broken", b"\xff{")
    state.hset(keys.STORES, "odd", b"[]")
    stored_by(state, tmp_path / "a", "work1")
    assert [mark.host for mark in StoreMarks(state).all()] == ["work1"]


def test_documents_are_erased_where_they_lie_or_not_at_all(state: Redis, tmp_path: Path) -> None:
    stored_by(state, tmp_path / "there", "work1")
    eraser = Eraser(Scripts(state), DocumentStore(FileTree(tmp_path / "here")), Retention())
    with pytest.raises(DeedboxError, match="stored on work1"):
        eraser.erase(R1, documents=True, by=Asker.OPERATOR)
    assert state.exists(keys.document(R1.stream))
    there = Eraser(Scripts(state), DocumentStore(FileTree(tmp_path / "there")), Retention())
    assert len(there.erase(R1, documents=True, by=Asker.OPERATOR).documents) == 2


def test_a_store_whose_mark_was_lost_still_holds_its_documents(state: Redis, tmp_path: Path) -> None:
    store = stored_by(state, tmp_path, "work1")
    before = store.mark()
    (tmp_path / ".deedbox-store").unlink()
    assert store.mark() != before
    eraser = Eraser(Scripts(state), store, Retention())
    assert len(eraser.erase(R1, documents=True, by=Asker.OPERATOR).documents) == 2


def test_a_writers_lock_is_a_file_that_is_open_for_writing(tmp_path: Path) -> None:
    """On NFS, a lock of a directory is local to its host, and an exclusive one needs a file open for writing."""
    store = DocumentStore(FileTree(tmp_path))
    held: list[bool] = []

    def wanted() -> bool:
        descriptor = os.open(tmp_path / ".default.lock", os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held.append(True)
        finally:
            os.close(descriptor)
        return True

    store.put("default", "r1", b"data", "pdf", {}, wanted)
    assert held == [True]


def test_sources_that_differ_in_case_only_are_refused() -> None:
    """On some file systems they would share a folder of the store."""
    with pytest.raises(SettingsError, match="acme and Acme, which differ in case only"):
        parse_sources('{"acme": {"api_keys": ["a"]}, "Acme": {"api_keys": ["b"]}}')
