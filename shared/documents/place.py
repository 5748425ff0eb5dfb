"""The port to what holds the files of a document store: a file tree, or a bucket."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from io import BufferedRandom, BufferedReader
from typing import Protocol

OpenFile = BufferedReader | BufferedRandom


class DocumentPlace(Protocol):
    """Files by name; ``source/request/file`` and, at the top, the store's mark. Every method raises Unavailable.

    A reader sees a whole file or none, whatever a writer does and whenever it is killed.
    """

    locks: bool
    """Whether ``erasing`` waits for every writer on every host."""

    def put_new(self, name: str, data: bytes) -> None:
        """Write a file, unless there is one of this name: that one stays as it is."""

    def replace(self, name: str, data: bytes) -> None:
        """Write a file in place of the one of this name, if there is one."""

    def read(self, name: str) -> bytes:
        """Return a small file. Raises FileNotFoundError."""

    def open(self, name: str) -> OpenFile:
        """Open a file for reading, in any order. Raises FileNotFoundError."""

    def names(self, folder: str) -> list[str]:
        """Return the names of all files in a folder, sorted."""

    def all_named(self, name: str) -> Iterator[str]:
        """Yield the names of the files of this name in the folders of all requests."""

    def remove(self, folder: str) -> list[str]:
        """Remove a folder with all files in it. Returns their names."""

    def writing(self, source: str) -> AbstractContextManager[None]:
        """Hold off erasures of a source, if there are locks here."""

    def erasing(self, source: str) -> AbstractContextManager[None]:
        """Hold off writers of a source, if there are locks here."""

    def url(self, name: str) -> str:
        """Return a file's URL."""

    def shown(self, name: str) -> str:
        """Return where a file is, for people; the place itself for an empty name."""
