"""The Dropbox Sign API, through the vendor's SDK: a few calls, their answers as values.

The SDK's transport is used without its models: they refuse fields and types that they do not know, which
would turn a change at the vendor into an outage here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

from deedbox.shared.runtime.ports import is_loopback
from deedbox.shared.settings import BUDGET_WINDOW_S
from deedbox.workers.dropbox_sign.redirects import followed

TIMEOUT_S: Final = (5.0, 40.0)
"""Connect and read. The read bound stays below the action's timeout, so that a slow API is a plain retry."""

PAGE_SIZE: Final = 100
"""Signature requests of one page: the most that the vendor gives."""

PAUSE_MAX_S: Final = 3600.0
"""Longest time that the API may make an account wait: beyond it, a header has another meaning (the specification says
that limits are per hour)."""

TOO_MANY: Final = 429
UNAVAILABLE: Final = 503

_CHUNK_BYTES: Final = 1024 * 1024
_ANSWER_MAX_BYTES: Final = 8 * 1024 * 1024
"""Largest answer that is no document: a signature request has some hundred kilobytes."""

_LIST_MAX_BYTES: Final = 64 * 1024 * 1024
"""Largest page of the list: it holds up to ``PAGE_SIZE`` signature requests."""


@dataclass(frozen=True, slots=True)
class ApiAnswer:
    """What the API answered."""

    status: int
    error_name: str
    body: bytes
    reset_at: float | None = None
    """Unix seconds until which the account must wait, if the answer said so."""
    too_large: bool = False
    media_type: str = ""
    """As the answer names it, for people."""

    @property
    def name(self) -> str:
        """Status and error, for people."""
        return f"{self.status} {self.error_name}".strip()

    def document(self) -> dict[str, Any]:
        """Return the JSON body; empty if it is none."""
        try:
            document = json.loads(self.body)
        except (ValueError, RecursionError):
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

    @property
    def is_here(self) -> bool:
        """Whether the API is on this machine: a simulator, or a stand-in of a test."""
        return is_loopback(urlsplit(self._base_url).hostname or "")

    def signature_request(self, request_id: str) -> ApiAnswer:
        """Read a signature request. Never raises for a status; raises OSError or an SDK error for no answer."""
        return self._read("SignatureRequestApi", "signature_request_get_without_preload_content", request_id)

    def files(self, request_id: str, kind: str) -> ApiAnswer:
        """Read the current documents, as ``pdf`` (merged) or ``zip``."""
        call = "signature_request_files_without_preload_content"
        return self._read(
            "SignatureRequestApi", call, request_id, file_type=kind,
            max_bytes=self._document_max_bytes, elsewhere=True,
        )  # fmt: skip

    def signature_requests(self, page: int, query: str) -> ApiAnswer:
        """Read one page of the list of signature requests, ``PAGE_SIZE`` of them; pages count from 1."""
        call = "signature_request_list_without_preload_content"
        return self._read(
            "SignatureRequestApi",
            call,
            page=page,
            page_size=PAGE_SIZE,
            query=query,
            max_bytes=_LIST_MAX_BYTES,
        )

    def account(self) -> ApiAnswer:
        """Read the account; its ``callback_url`` is null if none is set, or if it was dropped."""
        return self._read("AccountApi", "account_get_without_preload_content")

    def app(self, client_id: str) -> ApiAnswer:
        """Read an API app, with its ``callback_url``."""
        return self._read("ApiAppApi", "api_app_get_without_preload_content", client_id)

    def set_account_callback_url(self, url: str) -> ApiAnswer:
        """Set the account's callback URL; nothing else of the account changes."""
        client = self._client("AccountApi")
        from dropbox_sign.models import AccountUpdateRequest

        return self._answer(
            client.account_update_without_preload_content(
                AccountUpdateRequest(callback_url=url), _request_timeout=TIMEOUT_S
            )
        )

    def set_app_callback_url(self, client_id: str, url: str) -> ApiAnswer:
        """Set an API app's callback URL; nothing else of the app changes."""
        client = self._client("ApiAppApi")
        from dropbox_sign.models import ApiAppUpdateRequest

        return self._answer(
            client.api_app_update_without_preload_content(
                client_id, ApiAppUpdateRequest(callback_url=url), _request_timeout=TIMEOUT_S
            )
        )

    def _read(
        self, group: str, call: str, *operands: str, max_bytes: int = _ANSWER_MAX_BYTES,
        elsewhere: bool = False, **parameters: str | int,
    ) -> ApiAnswer:  # fmt: skip
        """Make a call that reads, and follow its redirects; to other hosts only if ``elsewhere``."""
        client = self._client(group)
        response = getattr(client, call)(*operands, **parameters, _request_timeout=TIMEOUT_S)
        pool = client.api_client.rest_client.pool_manager
        behind = followed(pool, response, self._base_url, self.api_key, TIMEOUT_S, elsewhere=elsewhere)
        return self._answer(behind, max_bytes)

    def _client(self, name: str) -> Any:
        if name not in self._apis:
            # Here, not at the top: importing the SDK takes about a second, which every worker would pay.
            from dropbox_sign import ApiClient, Configuration, apis
            from urllib3 import Retry

            # One connection error is ours to retry, with the account's budget; the SDK must not do it silently. Nor
            # does it follow redirects: it would ask any address that one names.
            configuration = Configuration(
                host=self._base_url, username=self.api_key, retries=Retry(0, redirect=False)
            )
            self._apis[name] = getattr(apis, name)(ApiClient(configuration))
        return self._apis[name]

    def _answer(self, response: Any, max_bytes: int = _ANSWER_MAX_BYTES) -> ApiAnswer:
        body, too_large = _read(response, max_bytes)
        status = int(response.status)
        error_name = ""
        if status >= 400:  # noqa: PLR2004 - HTTP
            error = ApiAnswer(status, "", body).document().get("error")
            error_name = str(error.get("error_name", ""))[:64] if isinstance(error, dict) else ""
        media_type = response.headers.get("Content-Type", "").partition(";")[0].strip()[:64]
        until = reset_at(response.headers, status, self._clock())
        return ApiAnswer(status, error_name, body, until, too_large, media_type)


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
    """Return until when the account must wait (unix seconds), None if it need not; bounded.

    The specification and a recorded answer name the headers differently, so both names are read. The vendor's 429 has had
    no Retry-After, but a proxy's may. Without any header the vendor's window of a minute is assumed.
    """
    named = {name.lower(): value.strip() for name, value in headers.items()}
    limited = status == TOO_MANY
    remaining = named.get("x-ratelimit-remaining", named.get("x-ratelimit-limit-remaining", ""))
    told = retry_after(named.get("retry-after", ""), now) if limited or status == UNAVAILABLE else None
    if told is None and not (limited or _number(remaining) == 0):
        return None
    reset = _number(named.get("x-ratelimit-reset", ""))
    if told is None and reset is not None and reset > now:
        told = reset
    if told is None:
        told = now + (BUDGET_WINDOW_S if limited else 1.0)
    return min(told, now + PAUSE_MAX_S)


def retry_after(text: str, now: float) -> float | None:
    """Return the time (unix seconds) that ``Retry-After`` names, as seconds or as a date; None for none."""
    seconds = _number(text.strip())
    if seconds is not None:
        return now + seconds if seconds > 0 else None
    try:
        at = parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return at if at > now else None


def _number(text: str) -> float | None:
    return float(text) if text.isascii() and text.isdigit() else None
