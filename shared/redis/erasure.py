"""Erasure: removes what is known about one request, and leaves a tombstone that makes every repeat a duplicate.

Its order makes it restartable, and safe beside every running process:

1. the tombstone: from here on no script writes about the stream (each looks in its own call), and no document of it is
   stored (``deedbox.shared.documents``);
2. the documents, if asked;
3. everything else in Redis, restored from its archive and then in pieces (``erase.lua``).

What is still on its way (spool, broker, inbox) meets the tombstone and is kept nowhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from deedbox.shared.archives.restoring import restore
from deedbox.shared.core.errors import DeedboxError, Unavailable
from deedbox.shared.core.identity import shard_of
from deedbox.shared.documents import DocumentStore, StoreMarks, digest_of, elsewhere
from deedbox.shared.redis import repair_calls
from deedbox.shared.redis.request_keys import Holdings, Subject
from deedbox.shared.redis.scripting import Scripts, text
from deedbox.shared.retention import Retention
from deedbox.shared.runtime import logs

ERASABLE: Final = frozenset({"signature_request", "fax"})
"""Kinds of keys that have an end. The tombstone of a template, an account or a type would swallow later events."""

PIECE: Final = 200
"""Items (events, entries, letters) that one script call removes: some ms, in which Redis answers no other client."""

log = logs.get("erasure")


class Asker(StrEnum):
    """Who wanted an erasure; kept in the tombstone and in the log."""

    OPERATOR = "operator"
    DESTROYED = "destroyed"


@dataclass(frozen=True, slots=True)
class ErasureSurvey:
    """What there is to remove."""

    events: int
    """Stored callbacks, other bodies of the same fact included."""
    queued: dict[str, int]
    """Entries of queues by action."""
    letters: tuple[str, ...]
    """Ids of dead letters."""
    state: bool
    """Whether order state, dedupe memory, timeline, read model, document record or an interrupted replay is there."""
    documents: tuple[str, ...]
    """Where each file in the document store is, as this host sees it."""
    erased_at: float | None
    """Unix seconds of an earlier erasure."""

    @property
    def in_redis(self) -> bool:
        """Whether Redis holds more than a tombstone."""
        return bool(self.events or self.queued or self.letters or self.state)

    @property
    def known(self) -> bool:
        """Whether there is, or was, anything at all."""
        return self.in_redis or bool(self.documents) or self.erased_at is not None

    def document(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "events": self.events, "queued": self.queued, "letters": list(self.letters), "state": self.state,
            "documents": list(self.documents), "erased_at": self.erased_at,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Removed:
    """What an erasure removed."""

    events: int
    queued: int
    letters: int
    held: int
    """Events among them that had not been released yet."""
    documents: tuple[str, ...]
    data_key: str = ""
    """Id of the destroyed key that had encrypted what Redis held; empty: there was none."""
    documents_key: str = ""
    """The same of the documents."""

    def document(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "events": self.events, "queued": self.queued, "letters": self.letters,
            "documents": list(self.documents),
        }  # fmt: skip

    def receipt(self, subject: Subject, by: Asker, at: float) -> dict[str, Any]:
        """Return what proves the erasure, with a hash in place of the id."""
        name = f"{subject.source}\0{subject.ordering_key}".encode()
        keys_ = {"state": self.data_key or None, "documents": self.documents_key or None}
        return {
            "erased_at": datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds"),
            "by": str(by),
            "kind": subject.kind,
            "subject_sha256": hashlib.sha256(name).hexdigest(),
            "removed": {
                "events": self.events, "queue_entries": self.queued, "dead_letters": self.letters,
                "held": self.held, "document_files": len(self.documents),
            },
            "destroyed_keys": keys_,
        }  # fmt: skip


class Eraser:
    """Finds and erases. Every method raises Unavailable if Redis or the document store does not answer."""

    def __init__(self, scripts: Scripts, store: DocumentStore, retention: Retention) -> None:
        self._scripts = scripts
        self._holdings = Holdings(scripts.redis)
        self._store = store
        self._retention = retention

    def find(self, subject: Subject) -> ErasureSurvey:
        """Look what there is, and change nothing but the form in which it is stored."""
        restore(self._scripts, (subject.stream,))
        found = self._survey(subject)
        # Archived meanwhile, it had nothing to show. Once restored, it is not archived again before it was quiet for long.
        while restore(self._scripts, (subject.stream,)):
            found = self._survey(subject)
        return found

    def _survey(self, subject: Subject) -> ErasureSurvey:
        holdings, stream = self._holdings, subject.stream
        letters = holdings.letters(subject)
        names = {*holdings.facts(stream), *holdings.strays(stream), *filter(None, letters.values())}
        return ErasureSurvey(
            events=holdings.stored(sorted(names)),
            queued=holdings.queued(stream),
            letters=tuple(letters),
            state=holdings.state(stream) or bool(holdings.replays(subject)),
            documents=tuple(self.documents(subject)),
            erased_at=holdings.erased_at(stream),
        )

    def documents(self, subject: Subject) -> list[str]:
        """Return where the files are that are stored for a request, as this host sees the store."""
        return self._store.files(subject.source, subject.request_id)

    def erase(self, subject: Subject, *, documents: bool, by: Asker) -> Removed:
        """Erase. May be called again at any time, also after an interruption.

        Raises DeedboxError for a key whose later events would be lost, and for documents that lie in a store which this
        host cannot read.
        """
        demand_erasable(subject)
        stream = subject.stream
        if documents:
            self._demand_within_reach(subject)
        self._call(stream, by, 0)
        restore(self._scripts, (stream,))  # after the tombstone: from there on it is not archived again
        documents_key = self._store.key_id(subject.source, subject.request_id) if documents else ""
        files = self._erase_documents(subject) if documents else []
        # Looked for after the tombstone, which ends what queues calls and files letters.
        strays = self._holdings.strays(stream)
        letters = list(self._holdings.letters(subject))
        replays = [(number, int(alone)) for number, alone in self._holdings.replays(subject).items()]
        done, tally, data_key = 0, [0, 0, 0, 0], ""
        while not done or letters or replays or strays:
            piece, letters = letters[:PIECE], letters[PIECE:]
            some, replays = replays[:PIECE], replays[PIECE:]
            stray, strays = strays[:PIECE], strays[PIECE:]
            done, *counts = self._call(stream, by, PIECE, piece, some, stray)
            data_key = data_key or "".join(map(text, counts[4:]))
            tally = [sum(pair) for pair in zip(tally, counts[:4], strict=True)]
        events, queued, dead, held = tally
        removed = Removed(events, queued, dead, held, tuple(files), data_key, documents_key)
        log.warning(
            "request.erased", source=subject.source, key=subject.ordering_key, by=str(by), events=events,
            queued=queued, letters=dead, documents=len(files), key_destroyed=data_key or None,
        )  # fmt: skip
        return removed

    def _erase_documents(self, subject: Subject) -> list[str]:
        # A fetch sets its mark before it looks for the tombstone, so that one of the two is seen. A mark lives longer than
        # a call may take: what a killed process had asked of the store is over, too.
        if not self._store.locks and self._holdings.fetching(subject.stream):
            raise Unavailable(
                f"A document of {subject.ordering_key} is being fetched; erase it again in two minutes."
            )
        return self._store.erase(subject.source, subject.request_id)

    def _demand_within_reach(self, subject: Subject) -> None:
        here = {digest_of(file) for file in self.documents(subject)}
        away = elsewhere(self._holdings.document_record(subject.stream), self._store.mark_here(), here)
        if not away:
            return
        marks = [mark for mark in StoreMarks(self._scripts.redis).all() if mark.store in away]
        where = ", ".join(f"{mark.host} ({mark.path})" for mark in marks) or "another host"
        raise DeedboxError(
            f"Documents of {subject.ordering_key} are stored on {where}, which this host cannot read; erase it there."
        )

    def _call(
        self,
        stream: str,
        by: Asker,
        items: int,
        letters: Sequence[str] = (),
        replays: Sequence[tuple[int, int]] = (),
        strays: Sequence[str] = (),
    ) -> list[Any]:
        """Set the tombstone, and remove so many items at most."""
        return repair_calls.erase(
            self._scripts, stream=stream, shard=shard_of(stream), life_s=self._retention.state_s, by=by, items=items,
            letters=letters, replays=replays, strays=strays,
        )  # fmt: skip


def demand_erasable(subject: Subject) -> None:
    """Refuse a key that goes on after an erasure. Raises DeedboxError."""
    if subject.kind not in ERASABLE:
        raise DeedboxError(
            f"{subject.ordering_key} is no signature request and no fax: it goes on, and erasing it would drop its later "
            "events too; its stored events expire by DEEDBOX_EVENT_RETENTION_DAYS."
        )
