"""Built-in action ``fetch_documents``: puts the final signed document of a request into the store.

When: on ``downloadable``, if the API says that the request is complete; if none came some time after
``all_signed``, then; and once more on the first later ``downloadable``. The payload is only a hint, because
``event_hash`` does not sign it: every decision is taken on what the API answers. The table of answers is
docs/protocol.md, section 6.
"""

from __future__ import annotations

import hashlib
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from deedbox.shared.core.attempts import AttemptPolicy
from deedbox.shared.core.reasons import TimelineKind
from deedbox.shared.core.request_snapshot import flag_of, request_of, title_of
from deedbox.shared.documents import (
    DocumentStore,
    DocumentType,
    StoredDocument,
    StoreMark,
    StoreMarks,
    Unwanted,
)
from deedbox.shared.redis import keys
from deedbox.shared.redis.scripting import Scripts
from deedbox.shared.retention import Retention
from deedbox.shared.runtime import logs
from deedbox.workers.actions.interface import ActionFunction, Context, Event, Reject, Retry, add_line
from deedbox.workers.actions.registry import RegisteredAction
from deedbox.workers.builtins import read_model
from deedbox.workers.builtins.document_bytes import defect
from deedbox.workers.builtins.document_record import SIMULATED, DocumentRecords
from deedbox.workers.dropbox_sign.account import (
    OK,
    UNPROCESSABLE,
    Accounts,
    Admitted,
    UnusableAnswer,
    files_budget,
    is_others,
    outages_are_waited_for,
    refuse,
    request_in,
    requested,
    turn_of,
)
from deedbox.workers.dropbox_sign.call_budgets import Turn
from deedbox.workers.dropbox_sign.client import ApiAnswer

log = logs.get("documents")

NAME: Final = "fetch_documents"
ALL_SIGNED: Final = "signature_request_all_signed"
DOWNLOADABLE: Final = "signature_request_downloadable"
STORED: Final = "deedbox.document_stored"

TIMEOUT_S: Final = 120.0
FETCHING_S: Final = 130
"""Life of the mark that one fetch of a request is under way: longer than the action's timeout."""

ATTEMPTS: Final = 20
"""Answers that are no document, such as a proxy's page, before one is a dead letter: about an hour with the backoff."""


@dataclass(frozen=True, slots=True)
class FetchPolicy:
    """What is fetched, and when."""

    kind: DocumentType = "pdf"
    grace_s: float = 60.0
    """After ``all_signed``, fetch without a ``downloadable``."""
    retention: Retention = Retention()


class FetchDocuments:
    """The action; one per process."""

    def __init__(
        self,
        scripts: Scripts,
        accounts: Accounts,
        store: DocumentStore,
        policy: FetchPolicy,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._scripts = scripts
        self._redis = scripts.redis
        self._retention = policy.retention
        self._records = DocumentRecords(scripts, policy.retention)
        self._marks = StoreMarks(scripts.redis)
        self._keep_s = policy.retention.state_s
        self._accounts = accounts
        self._store = store
        self._kind = policy.kind
        self._grace_s = policy.grace_s
        self._clock = clock

    def __call__(self, event: Event, context: Context) -> None:
        """Fetch, wait or do nothing, as the module says."""
        request_id = requested(event)
        if request_id is None:
            return
        stream = f"{event.source}:{event.ordering_key}"
        with outages_are_waited_for():
            if self._accounts.knows(event.source, request_id):
                self._decide(event, context, request_id, stream)
            else:
                self._records.deny(stream, context, SIMULATED)

    def _decide(self, event: Event, context: Context, request_id: str, stream: str) -> None:
        record = self._records.read(stream)
        mark = context.idempotency_key.encode()
        if context.idempotency_key in record.fetched_by:
            # The call that fetched was killed, maybe before it took its mark away; the request's other events wait.
            self._take_away(stream, mark)
            _announce(context, request_id, record.versions[-1])
            return
        if record.denied and not context.replay:
            self._records.deny(stream, context)  # its own note again, after a crash
            return
        if record.versions and not context.replay:
            if event.type == ALL_SIGNED or record.refetched or record.fetched_after(event.time):
                return
        elif event.type == ALL_SIGNED and not context.replay:
            self._wait_for_downloadable(context)
        with self._marked(stream, mark):
            self._fetch(event, context, request_id, stream)

    def fetch_missing(
        self, event: Event, context: Context, request_id: str, stream: str,
        admitted: Admitted, request: Mapping[str, Any],
    ) -> bool:  # fmt: skip
        """Fetch for another action a document that was not fetched, given that the API shows the request as complete.

        Returns whether this call or an earlier try of it fetched. Raises what a call of this action does.
        """
        mark = context.idempotency_key.encode()
        # Under the mark: a process that fetches has it, and one that has fetched recorded the document before it let go.
        with self._marked(stream, mark):
            record = self._records.read(stream)
            if context.idempotency_key in record.fetched_by:
                _announce(context, request_id, record.versions[-1])
                return True
            if record.settled:
                return False
            self._store_final(event, context, request_id, stream, admitted, request)
            return True

    @contextmanager
    def _marked(self, stream: str, mark: bytes) -> Iterator[None]:
        """Be the only one who fetches for this request. Raises Retry.

        The mark names this (event, action): repeated after a crash it finds its own mark and need not wait for its
        end. That the killed call is not still running is the lease's business.
        """
        if not self._redis.set(keys.fetching(stream), mark, nx=True, ex=FETCHING_S):
            if self._redis.get(keys.fetching(stream)) != mark:
                raise Retry("another fetch of this request is under way", after=1.0)
            self._redis.expire(keys.fetching(stream), FETCHING_S)
        try:
            yield
        finally:
            self._take_away(stream, mark)

    def _erased(self, stream: str) -> bool:
        return bool(self._redis.exists(keys.erased(stream)))

    def _take_away(self, stream: str, mark: bytes) -> None:
        # Compare and delete need not be one step: the mark lives longer than a call may.
        if self._redis.get(keys.fetching(stream)) == mark:
            self._redis.delete(keys.fetching(stream))

    def _wait_for_downloadable(self, context: Context) -> None:
        waited_s = 0.0 if context.waiting_since is None else self._clock() - context.waiting_since
        if waited_s < self._grace_s:
            raise Retry("waiting for signature_request_downloadable", after=self._grace_s - waited_s + 0.01)

    def _fetch(self, event: Event, context: Context, request_id: str, stream: str) -> None:
        turn = turn_of(files_turn(context, stream), event, shown=read_model.is_shown(self._redis, stream))
        kind = files_budget(test_mode=event.test_mode)
        # The download's turn first: else every try of every waiting document would spend a call on reading the request
        # again. An intermediate `downloadable` needs no download, and must not take a turn of those that do.
        complete = _claims_complete(event) or self._accounts.waits(event.source, turn, kind)
        kinds = (kind, "api") if complete else ("api",)
        admitted = self._accounts.admit(event.source, turn, *kinds)
        asked_at = max(self._clock(), event.time)
        answer = admitted.signature_request(request_id)
        if answer.status != OK:
            admitted.give_back(kind)
        if is_others(answer):
            self._records.deny(stream, context)
            return
        if answer.status != OK:
            refuse(answer, context, self._clock())
        request = request_in(answer, request_id)
        read_model.confirm(self._scripts, stream, request, asked_at, self._retention)
        if not flag_of(request.get("is_complete")):
            admitted.give_back(kind)
            # What could be fetched now is a partly signed copy, which is never stored.
            if _claims_complete(event):
                raise Retry("the API does not show the request as complete yet")
            return
        self._store_final(event, context, request_id, stream, admitted, request)

    def _store_final(
        self, event: Event, context: Context, request_id: str, stream: str,
        admitted: Admitted, request: Mapping[str, Any],
    ) -> None:  # fmt: skip
        kind = files_budget(test_mode=bool(flag_of(request.get("test_mode"))))
        if kind not in admitted.kinds:
            admitted.give_back("files", "test_files")
            admitted = self._accounts.admit(event.source, files_turn(context, stream), kind)
        answer = admitted.ask(lambda api: api.files(request_id, self._kind))
        if answer.status == UNPROCESSABLE:
            if flag_of(request.get("has_error")):
                raise Reject("the request's files are in error (422, has_error)")
            raise Retry("the files are not ready (422)")
        if answer.status != OK:
            refuse(answer, context, self._clock())
        self._check(answer)
        facts = {**self._facts(request, request_id), "trace_id": context.trace_id}
        try:
            stored = self._store.put(
                event.source, request_id, answer.body, self._kind, facts, lambda: not self._erased(stream)
            )
        except Unwanted:
            return  # erased while this call ran; the commit of this call finds the tombstone too
        log.info(
            "document.stored", source=event.source, key=event.ordering_key, trigger=event.type, sha256=stored.sha256,
            size=stored.size, trace_id=context.trace_id,
        )  # fmt: skip
        self._remember(context, stream, stored, event.type, request_id)

    def _check(self, answer: ApiAnswer) -> None:
        if answer.too_large:
            raise Reject("the document is larger than DEEDBOX_DOCUMENT_MAX_BYTES; raise it, then redrive")
        if trouble := defect(self._kind, answer.body, answer.media_type):
            raise UnusableAnswer(trouble)

    def _facts(self, request: Mapping[str, Any], request_id: str) -> dict[str, Any]:
        signatures = request.get("signatures")
        return {
            "signature_request_id": request_id,
            "title": title_of(request.get("title")),
            "signers": len(signatures) if isinstance(signatures, list) else None,
            "fetched_at": round(self._clock(), 3),
            "test_mode": bool(flag_of(request.get("test_mode"))),
        }

    def _remember(
        self, context: Context, stream: str, stored: StoredDocument, trigger: str, request_id: str
    ) -> None:
        record = self._records.read(stream)
        mark = StoreMark(self._store.mark(), socket.gethostname(), self._store.where, round(self._clock(), 3))
        self._marks.note(mark, self._keep_s)
        version = {"sha256": stored.sha256, "size": stored.size, "url": stored.url, "trigger": trigger,
                   "fetched_at": mark.used_at, "store": mark.store}  # fmt: skip
        record.add(version, by=context.idempotency_key)
        self._records.write(stream, record)
        _announce(context, request_id, version)


def registered(function: ActionFunction) -> RegisteredAction:
    """Return the action for the registry. Unordered: a waiting ``all_signed`` must not hold up ``downloadable``."""
    return RegisteredAction(
        NAME,
        (ALL_SIGNED, DOWNLOADABLE),
        function,
        keys.DOCUMENTS,
        TIMEOUT_S,
        ordered=False,
        policy=AttemptPolicy(attempts=ATTEMPTS),
    )


def files_turn(context: Context, stream: str) -> Turn:
    """Return the turn of a download: all events of a request share one, because one of them will fetch."""
    return Turn.of(context, hashlib.blake2b(stream.encode(), digest_size=16).hexdigest())


def _claims_complete(event: Event) -> bool:
    return event.type == ALL_SIGNED or bool(flag_of(request_of(event.payload).get("is_complete")))


def _announce(context: Context, request_id: str, version: Mapping[str, Any]) -> None:
    """Tell the timeline and the key's other actions; the commit of this call carries both."""
    add_line(
        context, TimelineKind.DOCUMENT, sha256=version["sha256"], size=version["size"], url=version["url"]
    )
    payload = {name: version[name] for name in ("url", "sha256", "size")}
    context.emit(STORED, {**payload, "signature_request_id": request_id})
