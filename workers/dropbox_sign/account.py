"""Calls of the API from inside an action: within the account's budget, and every refusal as Retry or Reject.

The table of answers is in docs/protocol.md, section 6.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NoReturn

from redis.exceptions import RedisError
from urllib3.exceptions import HTTPError

from deedbox.shared.core.errors import Unavailable
from deedbox.shared.core.identity import is_file_safe, is_simulated
from deedbox.shared.core.signature import Trust
from deedbox.shared.sources import account_of
from deedbox.workers.actions.interface import Context, Event, Reject, Retry
from deedbox.workers.dropbox_sign.call_budgets import CallBudgets, Turn
from deedbox.workers.dropbox_sign.client import TOO_MANY, ApiAnswer, SignApi

GROUP_CHARS: Final = 100

NOT_FOUND_GRACE_S: Final = 60.0
"""How long a 404 is waited for: the account may see a new request a little later."""

OK: Final = 200
FORBIDDEN: Final = 403
NOT_FOUND: Final = 404
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
    except Unavailable as error:
        raise Retry(str(error)) from error  # its sentence names what is away, and the fix
    except (HTTPError, OSError) as error:
        raise Retry(f"the API did not answer ({type(error).__name__})") from error


class UnusableAnswer(Exception):
    """An answer that nothing can be made of, such as the page of a proxy instead of a document.

    It may pass: each one uses an attempt of the action, with its growing backoff, until these are used up.
    """


class Admitted:
    """An account whose budgets have let some calls through. Every answer that says so pauses the account."""

    def __init__(self, api: SignApi, budgets: CallBudgets, kinds: tuple[str, ...]) -> None:
        self._api = api
        self._budgets = budgets
        self._account = account_of(api.api_key)
        self.kinds = kinds

    def ask(self, call: Callable[[SignApi], ApiAnswer]) -> ApiAnswer:
        """Make one of the calls. Raises what ``SignApi`` raises for no answer."""
        answer = call(self._api)
        if answer.reset_at is not None:
            self._budgets.pause_until(self._account, answer.reset_at)
        return answer

    def signature_request(self, request_id: str) -> ApiAnswer:
        """Read a signature request; one call of the kind ``api``."""
        return self.ask(lambda api: api.signature_request(request_id))

    def give_back(self, *kinds: str) -> None:
        """Give back calls that turned out not to be needed."""
        for kind in kinds:
            if kind in self.kinds:
                self._budgets.give_back(self._account, kind)


class Accounts:
    """The accounts of all sources, each with its budgets; one per process."""

    def __init__(
        self, apis: Mapping[str, SignApi], budgets: CallBudgets, clock: Callable[[], float] = time.time
    ) -> None:
        self._apis = apis
        self._budgets = budgets
        self.clock = clock

    def admit(self, source: str, turn: Turn, *kinds: str) -> Admitted:
        """Take a call of each kind when it is the caller's turn. Raises Retry until then, Reject."""
        api = self._api(source)
        wait_s = self._budgets.take(account_of(api.api_key), turn, *kinds)
        if wait_s > 0:
            names = " and ".join(kinds)
            raise Retry(f"others are first at the account's budget of {names} calls", after=wait_s)
        return Admitted(api, self._budgets, kinds)

    def knows(self, source: str, request_id: str) -> bool:
        """Return whether the API may be asked for a request: a simulated one is nothing to the real API. Raises Reject."""
        return not is_simulated(request_id) or self._api(source).is_here

    def waits(self, source: str, turn: Turn, kind: str) -> bool:
        """Return whether a caller has a place in the queue of a budget. Raises Reject."""
        return self._budgets.waits(account_of(self._api(source).api_key), turn, kind)

    def _api(self, source: str) -> SignApi:
        api = self._apis.get(source)
        if api is None:
            raise Reject(f"the source {source} is not defined here any more; see DEEDBOX_SOURCES")
        return api


def request_in(answer: ApiAnswer, request_id: str) -> dict[str, Any]:
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


def turn_of(turn: Turn, event: Event, *, shown: bool) -> Turn:
    """Return an event's turn, behind others if all that speaks of its request are claims.

    ``shown``: the API has shown the request before. Of an ``event_hash``, which signs a type and a second, any number of
    forged callbacks can be made: its look-ups are a group, and so cannot delay those of others.
    """
    if shown or (event.trust == Trust.ATTESTED.word):
        return turn
    internal = event.type.startswith("deedbox.")
    return turn.behind("deedbox" if internal else f"{event.type}@{event.time}"[:GROUP_CHARS])


def is_others(answer: ApiAnswer) -> bool:
    """Return whether the API keeps a request from this account, which gets callbacks of it as one of its recipients."""
    return answer.status == FORBIDDEN and answer.error_name != "signature_request_expired"


def refuse(answer: ApiAnswer, context: Context, now: float) -> NoReturn:
    """Turn a status that is not 200 into Retry, Reject or UnusableAnswer."""
    status, name = answer.status, answer.name
    if status == TOO_MANY:
        raise Retry(
            f"the API's rate limit is reached ({name})", after=max(0.25, (answer.reset_at or now + 60) - now)
        )
    if status in {401, 402}:
        raise Reject(
            f"the API refuses this account ({name}): check the key, the plan and its quota, then redrive"
        )
    if status == NOT_FOUND:
        waited_s = 0.0 if context.waiting_since is None else now - context.waiting_since
        if waited_s < NOT_FOUND_GRACE_S:
            raise Retry(f"the API does not know the request yet ({name})", after=max(10.0, waited_s))
        raise Reject(f"the API does not know the request ({name})")
    if status < 400:  # noqa: PLR2004 - HTTP
        raise UnusableAnswer(f"the API answered {name}, and no redirect that may be followed")
    if status in {409, UNPROCESSABLE} or status >= 500:  # noqa: PLR2004 - HTTP
        raise Retry(f"the files are not ready or the API is down ({name})")
    raise Reject(f"the API will not give the files ({name})")
