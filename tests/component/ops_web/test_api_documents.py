"""``GET /api/requests/<id>/documents/<n>``: the stored bytes, and nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import urllib3
from redis import Redis

from deedbox.shared.documents import DocumentStore, FileTree, StoreMark, StoreMarks
from tests.component.ops_web.asking import PDF, get, remember
from tests.component.ops_web.conftest import READER, TOKEN, Ops

pytestmark = [pytest.mark.real_redis, pytest.mark.usefixtures("store")]

PATH = "/api/requests/r1/documents/1"
SHA = hashlib.sha256(PDF).hexdigest()


@pytest.fixture
def store(data_dir: Path, state: Redis) -> DocumentStore:
    store = DocumentStore(FileTree(data_dir / "documents"))
    remember(state, store, "r1", PDF)
    return store


def test_the_stored_bytes_are_streamed_with_their_digest(ops: Ops) -> None:
    [listed] = get(ops, "/api/requests/r1")["documents"]
    answer = ops.request("GET", PATH)
    assert listed == {
        "n": 1, "sha256": SHA, "size_bytes": len(PDF), "type": "pdf", "stored_at": 1.0, "current": True,
    }  # fmt: skip
    assert (answer.status, answer.data) == (200, PDF)
    assert answer.headers["Content-Type"] == "application/pdf"
    assert answer.headers["ETag"] == f'"{SHA}"'
    assert answer.headers["Content-Disposition"] == f"attachment; filename=r1-{SHA[:8]}.pdf"
    assert answer.headers["Content-Length"] == str(len(PDF))


def test_a_part_of_a_document_can_be_had(ops: Ops) -> None:
    part = ops.request("GET", PATH, headers={"Range": "bytes=5-8"})
    assert (part.status, part.data) == (206, PDF[5:9])
    assert part.headers["Content-Range"] == f"bytes 5-8/{len(PDF)}"
    beyond = ops.request("GET", PATH, headers={"Range": "bytes=9999-"})
    assert (beyond.status, beyond.json()["error"]) == (416, "range_not_satisfiable")


def test_a_document_that_the_client_has_is_not_sent_again(ops: Ops) -> None:
    answer = ops.request("GET", PATH, headers={"If-None-Match": f'"{SHA}"'})
    assert (answer.status, answer.data) == (304, b"")


def test_each_version_has_its_number_and_the_last_is_current(
    ops: Ops, store: DocumentStore, state: Redis
) -> None:
    remember(state, store, "r1", PDF, PDF + b" twice %%EOF")
    documents = get(ops, "/api/requests/r1")["documents"]
    assert [(each["n"], each["current"]) for each in documents] == [(1, False), (2, True)]
    assert ops.request("GET", "/api/requests/r1/documents/2").data == PDF + b" twice %%EOF"


@pytest.mark.parametrize("n", ["0", "2", "01", "-1", "x", "1.0", "..", "٣"])
def test_a_number_that_no_document_has_is_not_found(ops: Ops, n: str) -> None:
    answer = ops.request("GET", f"/api/requests/r1/documents/{n}")
    assert answer.status == 404


@contextmanager
def _replaced(store: DocumentStore) -> Iterator[Path]:
    path = Path(store.where) / "default" / "r1" / f"{SHA}.pdf"
    path.unlink()
    yield path
    path.unlink(missing_ok=True)


def _refusal(answer: urllib3.BaseHTTPResponse) -> tuple[int, str]:
    return answer.status, answer.json()["error"]


def test_a_file_that_is_not_there_any_more_is_gone(ops: Ops, store: DocumentStore) -> None:
    with _replaced(store):
        assert _refusal(ops.request("GET", PATH)) == (410, "gone")


def test_a_document_in_another_hosts_store_is_not_called_gone(ops: Ops, state: Redis, tmp_path: Path) -> None:
    there = DocumentStore(FileTree(tmp_path / "there"))
    StoreMarks(state).note(StoreMark(there.mark(), "work1", "/srv/documents", 1.0), keep_s=100)
    remember(state, there, "r1", PDF + b"elsewhere", store=there.mark())
    answer = ops.request("GET", PATH)
    assert _refusal(answer) == (503, "unavailable")
    assert "stored on host work1, in /srv/documents, which this host cannot read" in answer.json()["detail"]


def test_a_file_that_somebody_changed_is_never_sent(ops: Ops, store: DocumentStore) -> None:
    with _replaced(store) as path:
        path.write_bytes(PDF.replace(b"small", b"large"))
        assert _refusal(ops.request("GET", PATH)) == (410, "gone")


def test_a_link_never_leads_out_of_the_store(ops: Ops, store: DocumentStore, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.pdf"
    elsewhere.write_bytes(PDF)
    with _replaced(store) as path:
        path.symlink_to(elsewhere)
        assert _refusal(ops.request("GET", PATH)) == (410, "gone")


def test_documents_need_their_scope(ops: Ops) -> None:
    assert _refusal(ops.request("GET", PATH, token=READER)) == (403, "forbidden")
    assert ops.request("GET", "/api/requests/r1", token=READER).status == 200
    assert ops.request("GET", PATH, token=TOKEN).status == 200
