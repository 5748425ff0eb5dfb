"""Lists an account's signature requests through the API and finds what callbacks missed of each."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from urllib3.exceptions import HTTPError

from deedbox.shared.core.errors import DeedboxError, SettingsError, Unavailable
from deedbox.shared.core.gaps import FRESH_S, Findings, concerns, found
from deedbox.shared.core.identity import is_file_safe
from deedbox.shared.core.request_snapshot import flag_of, last_change
from deedbox.shared.core.status import state_shown
from deedbox.shared.sources import account_of
from deedbox.workers.builtins.known_requests import streams_of
from deedbox.workers.dropbox_sign.account import OK
from deedbox.workers.dropbox_sign.call_budgets import CallBudgets, Turn
from deedbox.workers.dropbox_sign.client import TOO_MANY, ApiAnswer, SignApi
from deedbox.workers.sweeper.gaps import GapDesk

TRIES: Final = 3
TRY_AGAIN_S: Final = 1.0
PATIENCE_S: Final = 600.0
"""Longest wait for one call's budget: above any window of the vendor's that was seen."""


@dataclass(frozen=True, slots=True)
class ListingPage:
    """One page of the list."""

    requests: Sequence[Mapping[str, Any]]
    pages: int
    results: int


@dataclass(frozen=True, slots=True)
class MissingRequest:
    """What is missing of one request."""

    stream: str
    request_id: str
    state: str
    """As the API shows it."""
    findings: Findings
    test_mode: bool


@dataclass(slots=True)
class ListingTally:
    """What a listing found."""

    listed: int = 0
    too_fresh: int = 0
    missing: list[MissingRequest] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)

    def first(self, request_id: str) -> bool:
        """Return whether a request is listed for the first time: pages move when requests are made meanwhile."""
        if request_id in self._seen:
            return False
        self._seen.add(request_id)
        return True


class Lister:
    """Pages through one account's list, within its budget. ``on_wait`` is told every wait in seconds."""

    def __init__(
        self, source: str, api: SignApi, budgets: CallBudgets, on_wait: Callable[[float], None],
        clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self._source = source
        self._api = api
        self._budgets = budgets
        self._turn = Turn(uuid.uuid4().hex)
        self._on_wait = on_wait
        self._clock = clock

    def pages(self, created_from: float, created_to: float) -> Iterator[ListingPage]:
        """Yield the pages of requests created in between (unix seconds, by the day). Raises DeedboxError."""
        query = created_between(created_from, created_to)
        number, pages = 1, 1
        while number <= pages:
            page = _page(self._read(number, query))
            yield page
            number, pages = number + 1, page.pages

    def _read(self, number: int, query: str) -> ApiAnswer:
        trouble = ""
        for attempt in range(TRIES):
            if attempt:
                self._wait(TRY_AGAIN_S * 2 ** (attempt - 1))
            self._await_budget()
            try:
                answer = self._api.signature_requests(number, query)
            except (HTTPError, OSError) as error:
                trouble = type(error).__name__
                continue
            except Exception as error:
                if not _is_the_sdks(error):
                    raise
                trouble = type(error).__name__
                continue
            if answer.reset_at is not None:
                self._budgets.pause_until(account_of(self._api.api_key), answer.reset_at)
            if answer.status == OK:
                return answer
            trouble = answer.name
            if answer.status != TOO_MANY and answer.status < 500:  # noqa: PLR2004 - HTTP
                self._refuse(answer.status, trouble)
        raise Unavailable(
            f"the API did not list the signature requests ({trouble}); try again later, or see `deedbox check`."
        )

    def _refuse(self, status: int, name: str) -> None:
        if status == 401:  # noqa: PLR2004 - HTTP
            raise SettingsError(
                f"DEEDBOX_API_KEYS or DEEDBOX_SOURCES: the API does not accept the first key of the source "
                f"{self._source} ({name}); correct it."
            )
        raise DeedboxError(f"The API will not list the signature requests of {self._source} ({name}).")

    def _await_budget(self) -> None:
        until = self._clock() + PATIENCE_S
        while (wait_s := self._budgets.take(account_of(self._api.api_key), self._turn, "api")) > 0:
            if self._clock() > until:
                raise Unavailable("the account's budget of API calls stays used up; try again later.")
            self._wait(min(wait_s, 60.0))

    def _wait(self, wait_s: float) -> None:
        self._on_wait(wait_s)
        time.sleep(wait_s)


def _is_the_sdks(error: Exception) -> bool:
    from dropbox_sign import ApiException  # imported by now; at the top it would cost every worker a second

    return isinstance(error, ApiException)


def created_between(begin: float, end: float) -> str:
    """Return the list's search for requests created in between (unix seconds).

    The field takes dates, inclusive. In whose time zone is not documented: a day more on each side covers all.
    """
    first = datetime.fromtimestamp(begin, UTC) - timedelta(days=1)
    last = datetime.fromtimestamp(end, UTC) + timedelta(days=1)
    return f"created:[{first:%Y-%m-%d} TO {last:%Y-%m-%d}]"


def _page(answer: ApiAnswer) -> ListingPage:
    document = answer.document()
    info, rows = document.get("list_info"), document.get("signature_requests")
    if not isinstance(info, dict) or not isinstance(rows, list):
        raise Unavailable("the API answered without a list; try again later.")
    requests = [row for row in rows if isinstance(row, dict)]
    return ListingPage(requests, _count(info.get("num_pages")), _count(info.get("num_results")))


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0


def compare(
    desk: GapDesk, source: str, page: ListingPage, tally: ListingTally, since: float, now: float
) -> None:
    """Add to the tally what is missing here of one page's requests. Raises Unavailable."""
    requests = {}
    for request in page.requests:
        request_id = request.get("signature_request_id")
        if isinstance(request_id, str) and is_file_safe(request_id) and tally.first(request_id):
            requests[request_id] = request
    tally.listed += len(requests)
    known = desk.known(streams_of(source, requests))
    for stream, (request_id, request) in zip(streams_of(source, requests), requests.items(), strict=True):
        if stream not in known:
            continue  # erased: what was removed here must not come back from there
        findings = found(known[stream], request)
        if not findings or not concerns(known[stream], request, since):
            continue
        if now - last_change(request) < FRESH_S:
            tally.too_fresh += 1
            continue
        test_mode = bool(flag_of(request.get("test_mode")))
        tally.missing.append(MissingRequest(stream, request_id, state_shown(request), findings, test_mode))
