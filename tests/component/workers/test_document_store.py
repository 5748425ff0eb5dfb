"""The document store: a reader never sees half a file, and every version stays."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from pathlib import Path

import pytest

from deedbox.shared.core.errors import Unavailable
from deedbox.shared.documents import DocumentStore, FileTree


def _torn(root: Path) -> list[Path]:
    """Look at everything that has a name; return what is not whole."""
    documents = [path for path in root.rglob("*.pdf") if not path.name.startswith(".")]
    torn = [path for path in documents if hashlib.sha256(path.read_bytes()).hexdigest() != path.stem]
    for path in root.rglob("*.json"):
        if (
            not path.name.startswith(".")
            and not path.with_name(json.loads(path.read_bytes())["file"]).exists()
        ):
            torn.append(path)  # noqa: PERF401 - one condition per line reads better
    return torn


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    """A reader polls every name while writers publish: whatever has a name is whole."""
    store, done = DocumentStore(FileTree(tmp_path)), threading.Event()
    looks: list[list[Path]] = []

    def read() -> None:
        while not done.is_set():
            looks.append(_torn(tmp_path))

    def write(number: int) -> None:
        for version in range(12):
            store.put("default", f"r{number % 2}", bytes([number, version]) * 300_000, "pdf", {})

    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in (reader, *writers):
        thread.start()
    for writer in writers:
        writer.join()
    done.set()
    reader.join()
    assert len(looks) > 1
    assert not any(looks)
    assert len(list(tmp_path.rglob("*.pdf"))) == 48
    assert not list(tmp_path.rglob("*.tmp"))


def test_the_newest_version_is_current_and_older_ones_stay(tmp_path: Path) -> None:
    store = DocumentStore(FileTree(tmp_path))
    digests = [store.put("default", "r1", data, "pdf", {"title": "é"}).sha256 for data in (b"1", b"2", b"1")]
    rows = {path.stem: json.loads(path.read_bytes()) for path in (tmp_path / "default" / "r1").glob("*.json")}
    assert {digest: row["version"] for digest, row in rows.items()} == {
        digests[0]: "current",
        digests[1]: "superseded",
    }
    assert rows[digests[1]] == {
        "sha256": digests[1], "size": 1, "file": f"{digests[1]}.pdf", "version": "superseded", "title": "é",
    }  # fmt: skip


def test_what_is_stored_is_named_by_a_url(tmp_path: Path) -> None:
    stored = DocumentStore(FileTree(tmp_path)).put("default", "r1", b"data", "zip", {})
    path = tmp_path / "default" / "r1" / f"{hashlib.sha256(b'data').hexdigest()}.zip"
    assert (stored.url, stored.size, path.read_bytes()) == (path.as_uri(), 4, b"data")


def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    umask = os.umask(0o022)
    try:
        DocumentStore(FileTree(tmp_path / "documents")).put("default", "r1", b"data", "pdf", {})
    finally:
        os.umask(umask)
    request = tmp_path / "documents" / "default" / "r1"
    assert {path.stat().st_mode & 0o777 for path in request.iterdir()} == {0o600}
    assert request.stat().st_mode & 0o777 == 0o700


def test_folders_above_a_request_are_for_their_owner_only_too(tmp_path: Path) -> None:
    umask = os.umask(0o022)
    try:
        DocumentStore(FileTree(tmp_path / "documents")).put("default", "r1", b"data", "pdf", {})
    finally:
        os.umask(umask)
    folders = [tmp_path / "documents", tmp_path / "documents" / "default"]
    assert {folder.stat().st_mode & 0o777 for folder in folders} == {0o700}


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "a\\b", "a.b", "\0", "é"])
def test_a_name_that_could_leave_the_tree_is_refused(tmp_path: Path, name: str) -> None:
    store = DocumentStore(FileTree(tmp_path / "documents"))
    for source, request_id in ((name, "r1"), ("default", name)):
        with pytest.raises(ValueError, match="file name"):
            store.put(source, request_id, b"data", "pdf", {})
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_refuses_is_unavailable_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "default").write_bytes(b"a file where a folder should be")
    with pytest.raises(Unavailable, match="document store"):
        DocumentStore(FileTree(tmp_path)).put("default", "r1", b"data", "pdf", {})
    assert [path.name for path in tmp_path.glob("[!.]*")] == ["default"]


def test_what_a_killed_writer_left_is_removed_when_it_is_old(tmp_path: Path) -> None:
    store = DocumentStore(FileTree(tmp_path))
    store.put("default", "r1", b"%PDF-one", "pdf", {})
    old, young = tmp_path / "default/r1/.a.pdf.1234.tmp", tmp_path / "default/r1/.b.pdf.5678.tmp"
    for draft in (old, young):
        draft.write_bytes(b"%PDF-half")
    os.utime(old, (0, 0))

    store.put("default", "r1", b"%PDF-two", "pdf", {})

    assert (old.exists(), young.exists()) == (False, True)
