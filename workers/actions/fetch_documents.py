"""Built-in action ``fetch_documents``: puts the final signed document of a request into the store.

When: on ``downloadable``, if the API says that the request is complete; if none came some time after
``all_signed``, then; and once more on the first later ``downloadable``. The payload is only a hint, because
``event_hash`` does not sign it: every decision is taken on what the API answers. The table of answers is
section 6 of the wire's reference sheet.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from redis import Redis
from redis.exceptions import RedisError
from urllib3.exceptions import HTTPError

from shared import keys
from shared.core.attempts import AttemptPolicy
from shared.core.errors import Unavailable
from shared.core.identity import is_file_safe
from shared.core.reasons import Entry
from shared.documents import DocumentStore, DocumentType, StoredDocument
from workers.actions.interface import ActionFunction, Context, Event, Reject, Retry
from workers.actions.registry import RegisteredAction
from workers.api import Answer, Budget, SignApi

NAME: Final = "fetch_documents"
ALL_SIGNED: Final = "signature_request_all_signed"
DOWNLOADABLE: Final = "signature_request_downloadable"
STORED: Final = "deedbox.document_stored"

TIMEOUT_S: Final = 120.0
FETCHING_S: Final = 130
"""Life of the mark that one fetch of a request is under way: longer than the action's timeout."""

NOT_FOUND_GRACE_S: Final = 60.0
"""How long a 404 is waited for: the account may see a new request a little later."""

_MAGIC: Final[Mapping[str, bytes]] = {"pdf": b"%PDF-", "zip": b"PK\x03\x04"}
_END: Final[Mapping[str, bytes]] = {"pdf": b"%%EOF", "zip": b"PK\x05\x06"}
_TAIL_BYTES: Final = 66_000
"""Where the end mark must be: a zip may carry a comment of 64 KiB behind its own."""

_OK: Final = 200


@dataclass(slots=True)
class Record:
    """What was fetched for one request."""

    versions: list[dict[str, Any]] = field(default_factory=list)
    fetched_by: list[str] = field(default_factory=list)
    """Idempotency keys of the calls that fetched, so that a call repeated after a crash fetches nothing twice."""
    refetched: bool = False

    @classmethod
    def load(cls, text: bytes | str | None) -> Record:
        """Rebuild the record."""
        return cls(**json.loads(text)) if text else cls()

    def dump(self) -> str:
        """Return the record as JSON."""
        return json.dumps(
            {"versions": self.versions, "fetched_by": self.fetched_by, "refetched": self.refetched}
        )


class FetchDocuments:
    """The action; one per process."""

    def __init__(
        self,
        redis: Redis,
        apis: Mapping[str, SignApi],
        budget: Budget,
        store: DocumentStore,
        kind: DocumentType,
        grace_s: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._redis = redis
        self._apis = apis
        self._budget = budget
        self._store = store
        self._kind = kind
        self._grace_s = grace_s
        self._clock = clock

    def __call__(self, event: Event, context: Context) -> None:
        """Fetch, wait or do nothing, as the module says."""
        request_id = event.signature_request_id
        if request_id is None:
            return
        if not is_file_safe(request_id):
            raise Reject("the signature_request_id has characters that no Dropbox Sign id has")
        stream = f"{event.source}:{event.ordering_key}"
        try:
            self._decide(event, context, request_id, stream)
        except RedisError as error:
            raise Retry(f"Redis did not answer ({type(error).__name__})") from error
        except (HTTPError, OSError, Unavailable) as error:
            raise Retry(f"the API or the document store did not answer ({type(error).__name__})") from error

    def _decide(self, event: Event, context: Context, request_id: str, stream: str) -> None:
        record = Record.load(self._redis.get(keys.document(stream)))
        mark = context.idempotency_key.encode()
        if context.idempotency_key in record.fetched_by:
            # The call that fetched was killed, maybe before it took its mark away; the request's other events wait.
            self._take_away(stream, mark)
            _announce(context, request_id, record.versions[-1])
            return
        if record.versions and not context.replay:
            if event.type == ALL_SIGNED or record.refetched:
                return
        elif event.type == ALL_SIGNED and not context.replay:
            self._wait_for_downloadable(context)
        # The mark names this (event, action): repeated after a crash it finds its own mark and need not wait for
        # its end. That the killed call is not still running is the lease's business.
        if not self._redis.set(keys.fetching(stream), mark, nx=True, ex=FETCHING_S):
            if self._redis.get(keys.fetching(stream)) != mark:
                raise Retry("another fetch of this request is under way", after=1.0)
            self._redis.expire(keys.fetching(stream), FETCHING_S)
        try:
            self._fetch(event, context, request_id, stream)
        finally:
            self._take_away(stream, mark)

    def _take_away(self, stream: str, mark: bytes) -> None:
        # Compare and delete need not be one step: the mark lives longer than a call may.
        if self._redis.get(keys.fetching(stream)) == mark:
            self._redis.delete(keys.fetching(stream))

    def _wait_for_downloadable(self, context: Context) -> None:
        waited_s = 0.0 if context.waiting_since is None else self._clock() - context.waiting_since
        if waited_s < self._grace_s:
            raise Retry("waiting for signature_request_downloadable", after=self._grace_s - waited_s + 0.01)

    def _fetch(self, event: Event, context: Context, request_id: str, stream: str) -> None:
        # A look at the scarcer budget first: else every try of every waiting document would spend a call on
        # reading the request again. The payload's test_mode is hint enough for a look.
        self._afford(event.source, _files_budget(test_mode=event.test_mode), take=False)
        request = self._read_request(event, context, request_id)
        if request.get("is_complete") is not True:
            self._not_complete(event)
            return
        kind = _files_budget(test_mode=bool(request.get("test_mode")))
        answer = self._call(event.source, kind, lambda api: api.files(request_id, self._kind))
        if answer.status == 422:  # noqa: PLR2004 - HTTP
            self._unprocessable(event, context, request_id)
        if answer.status != _OK:
            _refuse(answer, context, self._clock())
        self._check(answer)
        stored = self._store.put(
            event.source, request_id, answer.body, self._kind, self._facts(request, request_id)
        )
        self._remember(context, stream, stored, event.type, request_id)

    def _read_request(self, event: Event, context: Context, request_id: str) -> dict[str, Any]:
        answer = self._call(event.source, "api", lambda api: api.signature_request(request_id))
        if answer.status != _OK:
            _refuse(answer, context, self._clock())
        request = answer.document().get("signature_request")
        if not isinstance(request, dict):
            raise Retry("the API answered without a signature_request")
        if request.get("signature_request_id") not in (None, request_id):
            raise Reject("the API answered about another signature request")
        return request

    def _call(self, source: str, kind: str, call: Callable[[SignApi], Answer]) -> Answer:
        """Make one call within the account's budget; a call that must wait occupies no process."""
        api = self._afford(source, kind)
        answer = call(api)
        if answer.reset_at is not None:
            self._budget.pause_until(account_of(api), answer.reset_at)
        return answer

    def _afford(self, source: str, kind: str, *, take: bool = True) -> SignApi:
        """Take a call of the account's budget, or only look whether there is one. Raises Retry if there is none."""
        api = self._apis.get(source)
        if api is None:
            raise Reject(f"the source {source} is not defined here any more; see DEEDBOX_SOURCES")
        wait_s = self._budget.wait_s(kind, account_of(api), take=take)
        if wait_s > 0:
            raise Retry(f"the account's budget of {kind} calls is used up", after=wait_s)
        return api

    def _not_complete(self, event: Event) -> None:
        request = event.payload.get("signature_request")
        claims_complete = isinstance(request, dict) and request.get("is_complete") is True
        if event.type == ALL_SIGNED or claims_complete:
            raise Retry("the API does not show the request as complete yet")
        # An intermediate `downloadable`: what could be fetched now is a partly signed copy, which is never stored.

    def _unprocessable(self, event: Event, context: Context, request_id: str) -> NoReturn:
        if self._read_request(event, context, request_id).get("has_error"):
            raise Reject("the request's files are in error (422, has_error)")
        raise Retry("the files are not ready (422)")

    def _check(self, answer: Answer) -> None:
        if answer.too_large:
            raise Reject("the document is larger than DEEDBOX_DOCUMENT_MAX_BYTES; raise it, then redrive")
        if not answer.body.startswith(_MAGIC[self._kind]):
            raise Reject(f"the API sent something that is no {self._kind}")
        # A connection that broke off would otherwise be stored as the document of record.
        if _END[self._kind] not in answer.body[-_TAIL_BYTES:]:
            raise Retry(f"the {self._kind} is cut off")

    def _facts(self, request: Mapping[str, Any], request_id: str) -> dict[str, Any]:
        signatures = request.get("signatures")
        return {
            "signature_request_id": request_id,
            "title": request.get("title"),
            "signers": len(signatures) if isinstance(signatures, list) else None,
            "fetched_at": round(self._clock(), 3),
            "test_mode": bool(request.get("test_mode")),
        }

    def _remember(
        self, context: Context, stream: str, stored: StoredDocument, trigger: str, request_id: str
    ) -> None:
        record = Record.load(self._redis.get(keys.document(stream)))
        first = not record.versions
        record.refetched = record.refetched or not first
        record.fetched_by.append(context.idempotency_key)
        record.versions = [row for row in record.versions if row["sha256"] != stored.sha256]
        version = {"sha256": stored.sha256, "size": stored.size, "url": stored.url, "trigger": trigger,
                   "fetched_at": round(self._clock(), 3)}  # fmt: skip
        record.versions.append(version)
        self._redis.set(keys.document(stream), record.dump(), ex=keys.ORDER_TTL_S)
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
        policy=AttemptPolicy(),
    )


def _files_budget(*, test_mode: bool) -> str:
    return "test_files" if test_mode else "files"


def _announce(context: Context, request_id: str, version: Mapping[str, Any]) -> None:
    """Tell the timeline and the key's other actions; the commit of this call carries both."""
    context.note(Entry.DOCUMENT, sha256=version["sha256"], size=version["size"], url=version["url"])
    payload = {name: version[name] for name in ("url", "sha256", "size")}
    context.emit(STORED, {**payload, "signature_request_id": request_id})


def account_of(api: SignApi) -> str:
    """Name the account whose budget a call uses, without its key: sources with one key share one budget."""
    return hashlib.blake2b(api.api_key.encode(), digest_size=8).hexdigest()


def _refuse(answer: Answer, context: Context, now: float) -> NoReturn:
    """Turn a status that is not 200 into Retry or Reject (reference sheet of the wire, section 6)."""
    status, name = answer.status, f"{answer.status} {answer.error_name}".strip()
    if status == 429:  # noqa: PLR2004 - HTTP
        raise Retry(
            f"the API's rate limit is reached ({name})", after=max(0.25, (answer.reset_at or now + 60) - now)
        )
    if status in {401, 402}:
        raise Reject(
            f"the API refuses this account ({name}): check the key, the plan and its quota, then redrive"
        )
    if status == 404:  # noqa: PLR2004 - HTTP
        if context.waiting_since is None or now - context.waiting_since < NOT_FOUND_GRACE_S:
            raise Retry(f"the API does not know the request yet ({name})", after=10.0)
        raise Reject(f"the API does not know the request ({name})")
    if status in {409, 422} or status >= 500:  # noqa: PLR2004 - HTTP
        raise Retry(f"the files are not ready or the API is down ({name})")
    raise Reject(f"the API will not give the files ({name})")
