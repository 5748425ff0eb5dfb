"""A document store of each kind: a directory, and a bucket of a real server of S3's protocol."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import pytest

from deedbox.shared.documents import DocumentStore, open_store
from deedbox.shared.documents_url import DocumentsUrl
from tests.support.s3 import BUCKET, URL, S3Server


class Shelf(Protocol):
    """What holds a store's files, seen past the store."""

    url: str

    def files(self) -> Mapping[str, bytes]:
        """Return every file by name; drafts, locks and marks left out."""

    def change(self, name: str, data: bytes) -> None:
        """Give a file another content."""

    def remove(self, name: str) -> None:
        """Take a file away."""


class Folder:
    """A directory."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.url = root.as_uri()

    def files(self) -> Mapping[str, bytes]:
        found = [path for path in self._root.rglob("[!.]*") if path.is_file()]
        return {str(path.relative_to(self._root)): path.read_bytes() for path in found}

    def change(self, name: str, data: bytes) -> None:
        (self._root / name).write_bytes(data)

    def remove(self, name: str) -> None:
        (self._root / name).unlink()


class InBucket:
    """A prefix in a bucket, through Amazon's own client."""

    def __init__(self, server: S3Server) -> None:
        self.client = server.client()
        self.url = URL
        self._prefix = URL.partition(f"{BUCKET}/")[2] + "/"

    def files(self) -> Mapping[str, bytes]:
        listed = self.client.list_objects_v2(Bucket=BUCKET, Prefix=self._prefix).get("Contents", [])
        names = [each["Key"].removeprefix(self._prefix) for each in listed]
        return {name: self._read(name) for name in names if not name.startswith(".")}

    def change(self, name: str, data: bytes) -> None:
        self.client.put_object(Bucket=BUCKET, Key=self._prefix + name, Body=data)

    def remove(self, name: str) -> None:
        self.client.delete_object(Bucket=BUCKET, Key=self._prefix + name)

    def _read(self, name: str) -> bytes:
        found: bytes = self.client.get_object(Bucket=BUCKET, Key=self._prefix + name)["Body"].read()
        return found


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    if find_spec("obstore") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("the extra `stores` is not installed")
    found = S3Server(tmp_path_factory.mktemp("s3"))
    try:
        found.start()
        yield found
    finally:
        found.close()


@pytest.fixture
def s3(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """Lend the server with an empty bucket, and set what names it."""
    server.empty()
    server.make_bucket()
    for name, value in server.environ().items():
        monkeypatch.setenv(name, value)
    return server


@pytest.fixture
def bucket(s3: S3Server) -> InBucket:
    return InBucket(s3)


@pytest.fixture(params=["file", "s3"])
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> Shelf:
    if request.param == "file":
        return Folder(tmp_path / "documents")
    found: InBucket = request.getfixturevalue("bucket")
    return found


@pytest.fixture
def store(shelf: Shelf) -> DocumentStore:
    return open_store(DocumentsUrl.parse(shelf.url))
