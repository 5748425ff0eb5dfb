"""What is a directory's own: rights, full disks, drafts of killed writers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deedbox.shared.core.errors import Unavailable
from deedbox.shared.documents import DocumentStore, FileTree


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


def test_a_disk_that_refuses_is_unavailable_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "default").write_bytes(b"a file where a folder should be")
    with pytest.raises(Unavailable, match="document store"):
        DocumentStore(FileTree(tmp_path)).put("default", "r1", b"data", "pdf", {})
    assert [path.name for path in tmp_path.glob("[!.]*")] == ["default"]


def test_what_a_killed_writer_left_is_removed_when_it_is_old_and_with_its_request(tmp_path: Path) -> None:
    store = DocumentStore(FileTree(tmp_path))
    store.put("default", "r1", b"%PDF-one", "pdf", {})
    old, young = tmp_path / "default/r1/.a.pdf.1234.tmp", tmp_path / "default/r1/.b.pdf.5678.tmp"
    for draft in (old, young):
        draft.write_bytes(b"%PDF-half")
    os.utime(old, (0, 0))

    store.put("default", "r1", b"%PDF-two", "pdf", {})

    assert (old.exists(), young.exists()) == (False, True)
    assert len(store.erase("default", "r1")) == 5
    assert not (tmp_path / "default/r1").exists()
