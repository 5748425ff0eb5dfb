"""Where documents lie: the store of one host, and what is known of the stores of others."""

from deedbox.shared.documents.file_tree import FileTree
from deedbox.shared.documents.marks import StoreMarks, elsewhere
from deedbox.shared.documents.opening import open_store
from deedbox.shared.documents.store import (
    Altered,
    DocumentStore,
    DocumentType,
    StoredDocument,
    Unwanted,
    digest_of,
)
from deedbox.shared.records.document_record import StoreMark

__all__ = [
    "Altered", "DocumentStore", "DocumentType", "FileTree", "StoreMark", "StoreMarks", "StoredDocument", "Unwanted",
    "digest_of", "elsewhere", "open_store",
]  # fmt: skip
