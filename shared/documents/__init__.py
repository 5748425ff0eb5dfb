"""Where documents lie: the store of one host, and what is known of the stores of others."""

from deedbox.shared.documents.marks import StoreMarks, elsewhere
from deedbox.shared.documents.store import Altered, DocumentStore, DocumentType, StoredDocument, Unwanted
from deedbox.shared.records.document_record import StoreMark

__all__ = [
    "Altered", "DocumentStore", "DocumentType", "StoreMark", "StoreMarks", "StoredDocument", "Unwanted", "elsewhere",
]  # fmt: skip
