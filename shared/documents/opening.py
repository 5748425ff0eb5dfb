"""Opens the document store that the settings name."""

from __future__ import annotations

from deedbox.shared.core.errors import SettingsError
from deedbox.shared.documents.file_tree import FileTree
from deedbox.shared.documents.place import DocumentPlace
from deedbox.shared.documents.store import DocumentStore
from deedbox.shared.documents_url import DocumentsUrl


def open_store(url: DocumentsUrl) -> DocumentStore:
    """Return the store; nothing is written, and nothing is asked. Raises SettingsError."""
    return DocumentStore(_place(url))


def _place(url: DocumentsUrl) -> DocumentPlace:
    if url.folder is not None:
        return FileTree(url.folder)
    try:
        from deedbox.shared.documents.bucket import Bucket
    except ModuleNotFoundError:
        raise SettingsError(
            f"DEEDBOX_DOCUMENTS_URL names a bucket ({url.scheme}://), which needs the extra: pip install 'deedbox[stores]'."
        ) from None
    return Bucket(url)
