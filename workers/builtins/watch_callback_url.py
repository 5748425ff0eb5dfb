"""Built-in action ``watch_callback_url``: asks the API what an account or an app calls back, and tells if that is wrong.

Dropbox Sign drops a callback URL after ten failures in a row; after that nothing arrives and nothing fails.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import RedisError
from urllib3.exceptions import HTTPError

from deedbox.shared.alerts.alerting import Kind
from deedbox.shared.callback_url import NOT_SET, is_expected, shown
from deedbox.shared.core.attempts import AttemptPolicy
from deedbox.shared.core.errors import Unavailable
from deedbox.shared.redis import keys
from deedbox.shared.runtime import logs
from deedbox.shared.sources import Source
from deedbox.workers.actions.interface import ActionFunction, Context, Event, Retry
from deedbox.workers.actions.registry import RegisteredAction
from deedbox.workers.builtins.alert_desk import AlertDesk
from deedbox.workers.dropbox_sign.account import NOT_FOUND, OK, Accounts
from deedbox.workers.dropbox_sign.call_budgets import Turn
from deedbox.workers.dropbox_sign.client import ApiAnswer, SignApi

NAME: Final = "watch_callback_url"
DUE: Final = "deedbox.callback_url_due"
"""Type of the internal event that the sweeper files."""

ACCOUNT: Final = "account"
"""The target that is no app."""

TIMEOUT_S: Final = 60.0
PATIENCE_S: Final = 600.0
"""How long a look waits for an answer: the next one is on its way."""

log = logs.get("callback_url")


@dataclass(frozen=True, slots=True)
class UrlLook:
    """What the API says about one target."""

    answer: ApiAnswer
    url: object
    """``callback_url`` as the API shows it; None: not set."""

    @property
    def refused(self) -> bool:
        """Return whether the API will not talk to this account."""
        return self.answer.status in {401, 402, 403}


def look(accounts: Accounts, source: str, target: str, turn: Turn) -> UrlLook:
    """Read a target's callback URL. Raises Retry, Reject, and what ``SignApi`` raises for no answer."""
    if target == ACCOUNT:
        answer, part = accounts.admit(source, turn, "api").ask(SignApi.account), "account"
    else:
        answer, part = accounts.admit(source, turn, "api").ask(lambda api: api.app(target)), "api_app"
    found = answer.document().get(part)
    return UrlLook(answer, found.get("callback_url") if isinstance(found, dict) else None)


def targets(source: Source) -> tuple[str, ...]:
    """Return whose URLs are looked at: the account and the apps of a source."""
    return (*((ACCOUNT,) if source.watch_account else ()), *source.client_ids)


class WatchCallbackUrl:
    """The action; one per process. ``desk`` is None where no alerts are sent; the log tells all the same."""

    def __init__(
        self,
        accounts: Accounts,
        sources: Mapping[str, Source],
        desk: AlertDesk | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._accounts = accounts
        self._sources = sources
        self._desk = desk
        self._clock = clock

    def __call__(self, event: Event, context: Context) -> None:
        """Look, and tell how it is."""
        source, target = self._sources.get(event.source), event.payload.get("target")
        if source is None or source.callback_url is None or target not in targets(source):
            return  # the settings have changed since
        try:
            found = look(self._accounts, source.name, str(target), Turn.of(context))
            self._tell(source, str(target), _answered(found))
        except (Retry, HTTPError, OSError) as error:
            if context.waiting_since is not None and self._clock() > context.waiting_since + PATIENCE_S:
                log.warning(
                    "callback_url.unknown", source=source.name, target=target, error=type(error).__name__
                )
                return
            raise _retry(error) from error
        except (RedisError, Unavailable) as error:
            raise Retry(f"Redis did not answer ({type(error).__name__})") from error

    def _tell(self, source: Source, target: str, found: UrlLook) -> None:
        problem = "" if found.refused else _problem(str(source.callback_url), found)
        if problem:
            log.warning("callback_url.wrong", source=source.name, target=target, found=problem)
        if found.refused:
            log.warning("callback_url.refused", source=source.name, target=target, status=found.answer.status)
        if self._desk is None:
            return
        refused = found.answer.name if found.refused else ""
        self._desk.condition(Kind.API_REFUSED, source.name, target, refused)
        if not found.refused:
            removed = found.answer.status == OK and found.url is None
            self._desk.condition(Kind.URL_DROPPED, source.name, target, problem if removed else "")
            self._desk.condition(Kind.URL_WRONG, source.name, target, "" if removed else problem)


def _answered(found: UrlLook) -> UrlLook:
    if found.answer.status not in {OK, NOT_FOUND} and not found.refused:
        raise Retry(f"the API answered {found.answer.status}")
    return found


def _problem(expected: str, found: UrlLook) -> str:
    if found.answer.status == NOT_FOUND:
        return "the API knows no such app"
    if is_expected(expected, found.url):
        return ""
    now = shown(found.url)
    return f"the URL is {NOT_SET}" if now == NOT_SET else f"the URL is {now}"


def _retry(error: Exception) -> Retry:
    if isinstance(error, Retry):
        return error
    return Retry(f"the API did not answer ({type(error).__name__})")


def event_payload(target: str, at: float) -> dict[str, Any]:
    """Return the payload of the event that requests a check; ``at`` tells it from earlier ones."""
    return {"target": target, "at": round(at, 3)}


def registered(function: ActionFunction) -> RegisteredAction:
    """Return the action for the registry. In the lane where the account's calls wait for their budget."""
    return RegisteredAction(
        NAME, (DUE,), function, keys.DOCUMENTS, TIMEOUT_S, ordered=False, policy=AttemptPolicy()
    )
