"""What every document store keeps to, whatever holds its files."""

from __future__ import annotations

import hashlib
import json
import threading

import pytest

from deedbox.shared.documents import Altered, DocumentStore, Unwanted, digest_of, open_store
from deedbox.shared.documents_url import DocumentsUrl
from tests.component.documents.conftest import Shelf

LARGE = 7 * 1024 * 1024
"""More than the library sends in one part, if it may choose."""


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def another(shelf: Shelf) -> DocumentStore:
    """Return the store as another process has it."""
    return open_store(DocumentsUrl.parse(shelf.url))


def test_what_is_stored_is_read_again_byte_for_byte(store: DocumentStore, shelf: Shelf) -> None:
    data = bytes(range(256)) * (LARGE // 256)
    stored = store.put("default", "r1", data, "pdf", {"title": "é"})
    with another(shelf).open("default", "r1", stored.sha256, "pdf") as file:
        assert file.read() == data
        file.seek(-3, 2)
        assert file.read() == data[-3:]
    assert (stored.sha256, stored.size) == (sha256(data), len(data))
    assert stored.url == f"{shelf.url}/default/r1/{stored.sha256}.pdf"
    assert sorted(shelf.files()) == [f"default/r1/{stored.sha256}.{end}" for end in ("json", "pdf")]


def test_the_newest_version_is_current_and_older_ones_stay(store: DocumentStore, shelf: Shelf) -> None:
    digests = [store.put("default", "r1", data, "pdf", {"title": "é"}).sha256 for data in (b"1", b"2", b"1")]
    rows = [json.loads(data) for name, data in shelf.files().items() if name.endswith(".json")]
    assert {row["sha256"]: row["version"] for row in rows} == {
        digests[0]: "current", digests[1]: "superseded",
    }  # fmt: skip
    assert next(row for row in rows if row["sha256"] == digests[1]) == {
        "sha256": digests[1], "size": 1, "file": f"{digests[1]}.pdf", "version": "superseded", "title": "é",
    }  # fmt: skip


def test_a_document_is_written_once_and_never_again(store: DocumentStore, shelf: Shelf) -> None:
    stored = store.put("default", "r1", b"%PDF- one", "pdf", {})
    name = f"default/r1/{stored.sha256}.pdf"
    shelf.change(name, b"what somebody else made of it")
    store.put("default", "r1", b"%PDF- one", "pdf", {})
    assert shelf.files()[name] == b"what somebody else made of it"


def test_a_file_that_somebody_changed_is_never_opened(store: DocumentStore, shelf: Shelf) -> None:
    stored = store.put("default", "r1", b"%PDF- one", "pdf", {})
    shelf.change(f"default/r1/{stored.sha256}.pdf", b"%PDF- two")
    with pytest.raises(Altered):
        store.open("default", "r1", stored.sha256, "pdf")


def test_what_is_not_there_is_not_found(store: DocumentStore, shelf: Shelf) -> None:
    with pytest.raises(FileNotFoundError):
        store.open("default", "r1", sha256(b"never stored"), "pdf")
    stored = store.put("default", "r1", b"%PDF- one", "pdf", {})
    shelf.remove(f"default/r1/{stored.sha256}.pdf")
    for source, request_id, digest in (
        ("default", "r1", stored.sha256), ("other", "r1", stored.sha256), ("..", "r1", stored.sha256),
        ("default", "r1", "../" + stored.sha256),
    ):  # fmt: skip
        with pytest.raises(FileNotFoundError):
            store.open(source, request_id, digest, "pdf")


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "a\\b", "a.b", "\0", "é"])
def test_a_name_that_could_leave_the_store_is_refused(store: DocumentStore, shelf: Shelf, name: str) -> None:
    for source, request_id in ((name, "r1"), ("default", name)):
        with pytest.raises(ValueError, match="file name"):
            store.put(source, request_id, b"data", "pdf", {})
        assert store.files(source, request_id) == store.erase(source, request_id) == []
    assert shelf.files() == {}


def test_an_erasure_removes_all_of_one_request_and_nothing_of_another(
    store: DocumentStore, shelf: Shelf
) -> None:
    others = [("default", "r10"), ("default", "r"), ("default2", "r1"), ("other", "r1")]
    for source, request_id in [("default", "r1"), *others]:
        for data in (b"1", b"2"):
            store.put(source, request_id, data, "pdf", {})
    found = store.files("default", "r1")
    assert store.erase("default", "r1") == found
    assert {digest_of(file) for file in found} == {sha256(b"1"), sha256(b"2")}
    assert len(found) == 4
    assert store.files("default", "r1") == store.erase("default", "r1") == []
    assert len(shelf.files()) == 4 * len(others)


def test_an_unwanted_document_leaves_nothing(store: DocumentStore, shelf: Shelf) -> None:
    with pytest.raises(Unwanted):
        store.put("default", "r1", b"%PDF-", "pdf", {}, lambda: False)
    assert shelf.files() == {}


def test_processes_that_begin_a_store_at_the_same_time_give_it_one_id(shelf: Shelf) -> None:
    assert another(shelf).mark_here() is None
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(another(shelf).mark())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(found), len(set(found)), len(found[0])) == (8, 1, 32)
    assert another(shelf).mark_here() == another(shelf).mark() == found[0]


def test_a_reader_never_sees_half_a_file(store: DocumentStore, shelf: Shelf) -> None:
    """A reader looks at every name while writers write: whatever has a name is whole, and each sidecar has its document."""
    done, torn, looks = threading.Event(), [], 0

    def write(number: int) -> None:
        for version in range(8):
            store.put("default", f"r{number % 2}", bytes([number, version]) * 300_000, "pdf", {})

    def finish() -> None:
        for writer in writers:
            writer.join()
        done.set()

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    ending = threading.Thread(target=finish)
    for thread in (*writers, ending):
        thread.start()
    while not done.is_set() or not looks:
        looks += 1
        # The sidecars first: a document may come while this looks.
        named = {name.replace(".json", ".pdf") for name in _names(store) if name.endswith(".json")}
        found = {name for name in _names(store) if name.endswith(".pdf")}
        torn += sorted(named - found)
        for name in sorted(found)[-3:]:
            store.open(
                "default", name.split("/")[-2], digest_of(name), "pdf"
            ).close()  # else it raises Altered
    ending.join()
    assert torn == []
    assert sum(name.endswith(".pdf") for name in shelf.files()) == 32


def _names(store: DocumentStore) -> list[str]:
    return [name for number in range(2) for name in store.files("default", f"r{number}")]


def test_a_look_at_the_store_leaves_nothing(store: DocumentStore, shelf: Shelf) -> None:
    store.ping()
    assert shelf.files() == {}
