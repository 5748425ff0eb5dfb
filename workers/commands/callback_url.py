"""``python -m deedbox.workers callback-url``: people use ``deedbox callback-url``. Shows the callback URLs, and puts them back."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import RedisError

from deedbox.shared.audit import AuditedOperation
from deedbox.shared.callback_url import CALLBACK_URL_FORM, is_callback_url, is_expected, shown
from deedbox.shared.command_options import CallbackUrlOptions
from deedbox.shared.core.errors import DeedboxError, SettingsError, Unavailable
from deedbox.shared.sources import Source
from deedbox.workers.actions.interface import Reject, Retry
from deedbox.workers.builtins.watch_callback_url import ACCOUNT, UrlLook, look, targets
from deedbox.workers.commands.asking import audited, confirm, demand_source, say
from deedbox.workers.dropbox_sign.account import NOT_FOUND, OK, Accounts
from deedbox.workers.dropbox_sign.call_budgets import Turn
from deedbox.workers.dropbox_sign.client import ApiAnswer, SignApi

if TYPE_CHECKING:
    from deedbox.workers.process import Process

BUDGET_PATIENCE_S: Final = 120.0
"""How long the command waits for the account's budget of calls."""

_WAIT_S: Final = 5.0
_TURN: Final = Turn(uuid.uuid4().hex)
"""The place of this command, which makes one call after the other, in the queue for the account's budget."""


@dataclass(frozen=True, slots=True)
class _Row:
    """One target and what the API says."""

    source: str
    target: str
    expected: str | None
    look: UrlLook

    @property
    def verdict(self) -> str:
        status = self.look.answer.status
        if status == NOT_FOUND:
            return "unknown"
        if self.expected is None:
            return "not watched"
        return "ok" if is_expected(self.expected, self.look.url) else "wrong"

    def document(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "target": self.target,
            "callback_url": None if not self.look.url else shown(self.look.url),
            "expected": None if self.expected is None else shown(self.expected),
            "verdict": self.verdict,
        }


def run(process: Process, options: CallbackUrlOptions) -> int:
    """Show or set. Returns the exit code: 1 if a URL is not what it should be. Raises DeedboxError."""
    sources = process.settings.sources()
    accounts = process.accounts
    if options.put:
        return _set(process, demand_source(sources, options.source or "default"), options)
    chosen = [demand_source(sources, options.source)] if options.source else list(sources.values())
    rows = [
        _read(accounts, source, target, source.callback_url)
        for source in chosen
        for target in ((options.app,) if options.app else targets(source))
    ]
    _write(rows, as_json=options.as_json)
    return 1 if any(row.verdict in {"wrong", "unknown"} for row in rows) else 0


def _set(process: Process, source: Source, options: CallbackUrlOptions) -> int:
    accounts = process.accounts
    url = options.url or source.callback_url
    if not url:
        raise SettingsError(
            "There is no URL to set; name it, or set DEEDBOX_CALLBACK_URL (callback_url in DEEDBOX_SOURCES)."
        )
    if not is_callback_url(url):
        raise SettingsError(f"The URL {CALLBACK_URL_FORM}")
    chosen = (options.app,) if options.app else targets(source)
    before = [_read(accounts, source, target, url) for target in chosen]
    if unknown := [row.target for row in before if row.verdict == "unknown"]:
        raise DeedboxError(f"The API knows no app {unknown[0]} of this account; see the API settings.")
    todo = [row for row in before if row.verdict == "wrong"]
    if not options.as_json:
        for row in before:
            say(f"{_name(row)}: {shown(row.look.url)} -> {shown(url) if row in todo else 'stays'}")
    if not todo or options.dry_run or not _wanted(len(todo), options):
        if options.as_json:
            _write(before, as_json=True, dry_run=bool(options.dry_run))
        return 0
    with audited(process, options, AuditedOperation.SET_CALLBACK_URL, app=options.app) as done:
        after = [_put(accounts, row, source, url) for row in todo]
        done.count = len(after)
    if options.as_json:
        _write(after, as_json=True)
    else:
        say(f"Set, and read back: {len(after)}. Press Test beside the URL in the API settings to try it.")
    return 0


def _put(accounts: Accounts, row: _Row, source: Source, url: str) -> _Row:
    def put(api: SignApi) -> ApiAnswer:
        if row.target == ACCOUNT:
            return api.set_account_callback_url(url)
        return api.set_app_callback_url(row.target, url)

    answer: ApiAnswer = _patiently(lambda: accounts.admit(source.name, _TURN, "api").ask(put))
    if answer.status != OK:
        raise DeedboxError(f"The API did not take the URL for {_name(row)} ({answer.name}).")
    after = _read(accounts, source, row.target, url)
    if after.verdict != "ok":
        raise DeedboxError(f"The API took the URL for {_name(row)}, and shows {shown(after.look.url)}.")
    return after


def _read(accounts: Accounts, source: Source, target: str, expected: str | None) -> _Row:
    found: UrlLook = _patiently(lambda: look(accounts, source.name, target, _TURN))
    if found.refused:
        raise DeedboxError(
            f"The API refuses the key of the source {source.name} ({found.answer.name}); put a valid key "
            "first in its key ring."
        )
    if found.answer.status not in {OK, NOT_FOUND}:
        raise DeedboxError(f"The API answered {found.answer.name}; try again later.")
    return _Row(source.name, target, expected, found)


def _patiently(call: Any) -> Any:
    """Make a call, waiting for the account's budget of calls. Raises DeedboxError."""
    until = time.monotonic() + BUDGET_PATIENCE_S
    while True:
        try:
            return call()
        except Retry as error:
            if time.monotonic() >= until:
                raise DeedboxError(f"{error.reason}; try again in a minute.") from None
            time.sleep(min(_WAIT_S, error.after or _WAIT_S))
        except Reject as error:
            raise DeedboxError(error.reason) from None
        except (RedisError, Unavailable) as error:
            raise DeedboxError(
                f"Redis, which keeps the account's budget, does not answer ({type(error).__name__})."
            ) from None
        except Exception as error:  # noqa: BLE001 - the SDK, its HTTP client and sockets each raise their own
            raise DeedboxError(f"The API does not answer ({type(error).__name__}).") from None


def _name(row: _Row) -> str:
    return f"{row.source}, {'account' if row.target == ACCOUNT else 'app ' + row.target}"


def _write(rows: Sequence[_Row], *, as_json: bool, dry_run: bool = False) -> None:
    if as_json:
        say(json.dumps({"targets": [row.document() for row in rows], "dry_run": dry_run}))
        return
    for row in rows:
        expected = f", expected {shown(row.expected)}" if row.verdict == "wrong" else ""
        say(f"{row.verdict:<12} {_name(row)}: {shown(row.look.url)}{expected}")
    if any(row.verdict == "wrong" for row in rows):
        say("Put it back with `deedbox callback-url set`.")


def _wanted(count: int, options: CallbackUrlOptions) -> bool:
    return confirm(f"Set {count} callback URL{'' if count == 1 else 's'}?", yes=options.yes)
