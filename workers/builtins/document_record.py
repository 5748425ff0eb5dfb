"""What is known of one request's documents: which versions were stored, and whether this account may have them at all."""

from __future__ import annotations

from typing import Final

from deedbox.shared.archives import reading as archives
from deedbox.shared.records.document_record import DocumentRecord
from deedbox.shared.redis import script_calls
from deedbox.shared.redis.scripting import Scripts
from deedbox.shared.retention import Retention
from deedbox.shared.runtime import logs
from deedbox.workers.actions.interface import Context

SIMULATED: Final = "no document: the request is simulated, and the API is not asked for it"
DENIED: Final = "no document: the API keeps this request from the account, which is only a recipient of it"


log = logs.get("documents")


class DocumentRecords:
    """The records in Redis. Of an erased request nothing is written."""

    def __init__(self, scripts: Scripts, retention: Retention) -> None:
        self._scripts = scripts
        self._life_s = retention.state_s

    def read(self, stream: str) -> DocumentRecord:
        """Return a request's record; one that cannot be read is replaced by a new one. Raises RedisError.

        What it leads to is one more fetch: the store is addressed by content.
        """
        [[packed]] = archives.values(self._scripts.redis, (stream,), "document")
        record = DocumentRecord.load(packed)
        if not record:
            log.error("documents.record_unreadable", stream=stream)
            return DocumentRecord()
        return record

    def write(self, stream: str, record: DocumentRecord) -> None:
        """Keep a request's record. Raises Unavailable."""
        script_calls.remember(
            self._scripts, stream=stream, kind="document", value=record.dump(), life_s=self._life_s
        )

    def deny(self, stream: str, context: Context, why: str = DENIED) -> None:
        """Note, once per request, why there is no document to be had: nothing here needs a person.

        A call that a crash repeats notes it again: its first note was not committed.
        """
        record = self.read(stream)
        if not record.denied:
            record.denied = context.idempotency_key
            self.write(stream, record)
        if record.denied == context.idempotency_key:
            context.note(why)
