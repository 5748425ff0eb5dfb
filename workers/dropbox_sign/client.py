"""The Dropbox Sign API, through the vendor's SDK: a few calls, their answers as values, the account's budgets.

The SDK's transport is used without its models: they refuse fields and types that they do not know, which
would turn a change at the vendor into an outage here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from limits.storage import RedisStorage
from limits.strategies import MovingWindowRateLimiter
from redis import Redis

from deedbox.shared import budgets
from deedbox.shared.redis import keys

TIMEOUT_S: Final = (5.0, 40.0)
"""Connect and read. The read bound stays below the action's timeout, so that a slow API is a plain retry."""

PAGE_SIZE: Final = 100
"""Signature requests of one page: the most that the vendor gives."""

RATE_WINDOW_S: Final = 60.0
_CHUNK_BYTES: Final = 1024 * 1024
_ANSWER_MAX_BYTES: Final = 8 * 1024 * 1024
"""Largest answer that is no document: a signature request has some hundred kilobytes."""

_LIST_MAX_BYTES: Final = 64 * 1024 * 1024
"""Largest page of the list: it holds up to ``PAGE_SIZE`` signature requests."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API answered."""

    status: int
    error_name: str
    body: bytes
    reset_at: float | None = None
    """Unix seconds until which the account must wait, if the answer said so."""
    too_large: bool = False

    def document(self) -> dict[str, Any]:
        """Return the JSON body; empty if it is none."""
        try:
            document = json.loads(self.body)
        except ValueError:
            return {}
        return document if isinstance(document, dict) else {}


class SignApi:
    """One account's API."""

    def __init__(
        self,
        base_url: str,
        api_key: str,
        clock: Callable[[], float] = time.time,
        *,
        document_max_bytes: int = 200 * 1024 * 1024,
    ) -> None:
        self._base_url = base_url
        self.api_key = api_key
        self._document_max_bytes = document_max_bytes
        self._clock = clock
        self._apis: dict[str, Any] = {}

    def signature_request(self, request_id: str) -> Answer:
        """Read a signature request. Never raises for a status; raises OSError or an SDK error for no answer."""
        return self._answer(
            self._client().signature_request_get_without_preload_content(
                request_id, _request_timeout=TIMEOUT_S
            ),
            _ANSWER_MAX_BYTES,
        )

    def files(self, request_id: str, kind: str) -> Answer:
        """Read the current documents, as ``pdf`` (merged) or ``zip``."""
        return self._answer(
            self._client().signature_request_files_without_preload_content(
                request_id, file_type=kind, _request_timeout=TIMEOUT_S
            ),
            self._document_max_bytes,
        )

    def signature_requests(self, page: int, query: str) -> Answer:
        """Read one page of the list of signature requests, ``PAGE_SIZE`` of them; pages count from 1."""
        return self._answer(
            self._client().signature_request_list_without_preload_content(
                page=page, page_size=PAGE_SIZE, query=query, _request_timeout=TIMEOUT_S
            ),
            _LIST_MAX_BYTES,
        )

    def account(self) -> Answer:
        """Read the account; its ``callback_url`` is null if none is set, or if it was dropped."""
        return self._answer(
            self._client("AccountApi").account_get_without_preload_content(_request_timeout=TIMEOUT_S)
        )

    def app(self, client_id: str) -> Answer:
        """Read an API app, with its ``callback_url``."""
        return self._answer(
            self._client("ApiAppApi").api_app_get_without_preload_content(
                client_id, _request_timeout=TIMEOUT_S
            )
        )

    def set_account_callback_url(self, url: str) -> Answer:
        """Set the account's callback URL; nothing else of the account changes."""
        client = self._client("AccountApi")
        from dropbox_sign.models import AccountUpdateRequest

        return self._answer(
            client.account_update_without_preload_content(
                AccountUpdateRequest(callback_url=url), _request_timeout=TIMEOUT_S
            )
        )

    def set_app_callback_url(self, client_id: str, url: str) -> Answer:
        """Set an API app's callback URL; nothing else of the app changes."""
        client = self._client("ApiAppApi")
        from dropbox_sign.models import ApiAppUpdateRequest

        return self._answer(
            client.api_app_update_without_preload_content(
                client_id, ApiAppUpdateRequest(callback_url=url), _request_timeout=TIMEOUT_S
            )
        )

    def _client(self, name: str = "SignatureRequestApi") -> Any:
        if name not in self._apis:
            # Here, not at the top: importing the SDK takes about a second, which every worker would pay.
            from dropbox_sign import ApiClient, Configuration, apis
            from urllib3 import Retry

            # One connection error is ours to retry, with the account's budget; the SDK must not do it silently.
            configuration = Configuration(
                host=self._base_url, username=self.api_key, retries=Retry(0, redirect=3)
            )
            self._apis[name] = getattr(apis, name)(ApiClient(configuration))
        return self._apis[name]

    def _answer(self, response: Any, max_bytes: int = _ANSWER_MAX_BYTES) -> Answer:
        body, too_large = _read(response, max_bytes)
        status = int(response.status)
        error_name = ""
        if status >= 400:  # noqa: PLR2004 - HTTP
            error = Answer(status, "", body).document().get("error")
            error_name = str(error.get("error_name", ""))[:64] if isinstance(error, dict) else ""
        return Answer(status, error_name, body, reset_at(response.headers, status, self._clock()), too_large)


def _read(response: Any, max_bytes: int) -> tuple[bytes, bool]:
    """Read a body. Returns it, or nothing and that it is larger than allowed; the rest then stays unread."""
    try:
        announced = response.headers.get("Content-Length", "")
        if announced.isdigit() and int(announced) > max_bytes:
            response.close()
            return b"", True
        chunks, size = [], 0
        while chunk := response.read(_CHUNK_BYTES, decode_content=True):
            size += len(chunk)
            if size > max_bytes:
                response.close()  # else the connection is given back with the rest of the body in it
                return b"", True
            chunks.append(chunk)
        return b"".join(chunks), False
    finally:
        response.release_conn()


def reset_at(headers: Mapping[str, str], status: int, now: float) -> float | None:
    """Return until when the account must wait (unix seconds), None if it need not.

    The specification and a recorded answer name the headers differently, so both names are read. A 429 carries
    no Retry-After; without a reset header the vendor's window of a minute is assumed.
    """
    named = {name.lower(): value for name, value in headers.items()}
    remaining = named.get("x-ratelimit-remaining", named.get("x-ratelimit-limit-remaining", ""))
    exhausted = status == 429 or (remaining.strip().isdigit() and int(remaining) == 0)  # noqa: PLR2004 - HTTP
    if not exhausted:
        return None
    reset = named.get("x-ratelimit-reset", "").strip()
    if reset.isdigit() and int(reset) > now:
        # Bounded: a reset far in the future is a header of another meaning (the spec says per hour).
        return min(float(reset), now + 3600)
    return now + (RATE_WINDOW_S if status == 429 else 1.0)  # noqa: PLR2004 - HTTP


class Budget:
    """Account-wide budgets in Redis: all processes of all machines share one moving window per kind of call."""

    def __init__(
        self, redis: Redis, per_minute: Mapping[str, int], clock: Callable[[], float] = time.time
    ) -> None:
        self._redis = redis
        storage = RedisStorage(
            "redis://", connection_pool=redis.connection_pool, key_prefix=budgets.STORAGE_PREFIX
        )
        self._limiter = MovingWindowRateLimiter(storage)
        self._items = {kind: budgets.item(rate) for kind, rate in per_minute.items()}
        self._clock = clock

    def wait_s(self, kind: str, account: str, *, take: bool = True) -> float:
        """Take one call of the budget, or only look. Returns 0 if it may go out now, else the seconds to wait.

        If it must wait, nothing is taken.
        """
        pause = self._redis.get(keys.api_pause(account))
        now = self._clock()
        if pause is not None and float(pause) > now:
            return float(pause) - now
        item = self._items[kind]
        if (self._limiter.hit if take else self._limiter.test)(item, kind, account):
            return 0.0
        reset = self._limiter.get_window_stats(item, kind, account).reset_time
        return max(0.25, reset - now)

    def pause_until(self, account: str, until: float) -> None:
        """Obey the API: no call of this account before ``until`` (unix seconds)."""
        ttl_s = max(1, int(until - self._clock()) + 1)
        self._redis.set(keys.api_pause(account), f"{until:.3f}", ex=ttl_s)
