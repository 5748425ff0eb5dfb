"""Calls of the API from inside an action: within the account's budget, and every refusal as Retry or Reject.

The table of answers is section 6 of the wire's reference sheet.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NoReturn

from redis.exceptions import RedisError
from urllib3.exceptions import HTTPError

from deedbox.shared.budgets import account_of
from deedbox.shared.core.errors import Unavailable
from deedbox.shared.core.identity import is_file_safe
from deedbox.workers.actions.interface import Context, Event, Reject, Retry
from deedbox.workers.dropbox_sign.client import Answer, Budget, SignApi

NOT_FOUND_GRACE_S: Final = 60.0
"""How long a 404 is waited for: the account may see a new request a little later."""

OK: Final = 200
NOT_FOUND: Final = 404
EXCEEDED_RATE: Final = 429
UNPROCESSABLE: Final = 422


def requested(event: Event) -> str | None:
    """Return the id of the request that an event is about; None if it is about none.

    It becomes a part of URLs and file names. Raises Reject for one that must not.
    """
    request_id = event.signature_request_id
    if request_id is not None and not is_file_safe(request_id):
        raise Reject("the signature_request_id has characters that no Dropbox Sign id has")
    return request_id


@contextmanager
def outages_are_waited_for() -> Iterator[None]:
    """Raise Retry where Redis, the API or the document store does not answer: an outage uses up no attempt."""
    try:
        yield
    except RedisError as error:
        raise Retry(f"Redis did not answer ({type(error).__name__})") from error
    except (HTTPError, OSError, Unavailable) as error:
        raise Retry(
            f"Redis, the API or the document store did not answer ({type(error).__name__})"
        ) from error


class Accounts:
    """The accounts of all sources, each with its budget; one per process."""

    def __init__(
        self, apis: Mapping[str, SignApi], budget: Budget, clock: Callable[[], float] = time.time
    ) -> None:
        self._apis = apis
        self._budget = budget
        self.clock = clock

    def call(self, source: str, kind: str, call: Callable[[SignApi], Answer]) -> Answer:
        """Make one call within the account's budget; a call that must wait occupies no process. Raises Retry, Reject."""
        api = self.afford(source, kind)
        answer = call(api)
        if answer.reset_at is not None:
            self._budget.pause_until(account_of(api.api_key), answer.reset_at)
        return answer

    def afford(self, source: str, kind: str, *, take: bool = True) -> SignApi:
        """Take a call of the account's budget, or only look whether there is one. Raises Retry if there is none."""
        api = self._apis.get(source)
        if api is None:
            raise Reject(f"the source {source} is not defined here any more; see DEEDBOX_SOURCES")
        wait_s = self._budget.wait_s(kind, account_of(api.api_key), take=take)
        if wait_s > 0:
            raise Retry(f"the account's budget of {kind} calls is used up", after=wait_s)
        return api

    def signature_request(self, source: str, request_id: str) -> Answer:
        """Read a signature request. Raises Retry, Reject, and what ``SignApi`` raises for no answer."""
        return self.call(source, "api", lambda api: api.signature_request(request_id))

    def refuse(self, answer: Answer, context: Context) -> NoReturn:
        """Turn a status that is not 200 into Retry or Reject."""
        refuse(answer, context, self.clock())


def request_in(answer: Answer, request_id: str) -> dict[str, Any]:
    """Return the ``signature_request`` of an answer. Raises Retry if it has none, Reject if it is another's."""
    request = answer.document().get("signature_request")
    if not isinstance(request, dict):
        raise Retry("the API answered without a signature_request")
    if request.get("signature_request_id") not in (None, request_id):
        raise Reject("the API answered about another signature request")
    return request


def files_budget(*, test_mode: bool) -> str:
    """Name the budget that a download uses."""
    return "test_files" if test_mode else "files"


def refuse(answer: Answer, context: Context, now: float) -> NoReturn:
    """Turn a status that is not 200 into Retry or Reject."""
    status, name = answer.status, f"{answer.status} {answer.error_name}".strip()
    if status == EXCEEDED_RATE:
        raise Retry(
            f"the API's rate limit is reached ({name})", after=max(0.25, (answer.reset_at or now + 60) - now)
        )
    if status in {401, 402}:
        raise Reject(
            f"the API refuses this account ({name}): check the key, the plan and its quota, then redrive"
        )
    if status == NOT_FOUND:
        if context.waiting_since is None or now - context.waiting_since < NOT_FOUND_GRACE_S:
            raise Retry(f"the API does not know the request yet ({name})", after=10.0)
        raise Reject(f"the API does not know the request ({name})")
    if status in {409, UNPROCESSABLE} or status >= 500:  # noqa: PLR2004 - HTTP
        raise Retry(f"the files are not ready or the API is down ({name})")
    raise Reject(f"the API will not give the files ({name})")
