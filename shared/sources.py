"""The tenants that DEEDBOX_SOURCES defines."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Any, Final

from deedbox.shared.callback_url import CALLBACK_URL_FORM, is_callback_url
from deedbox.shared.core.errors import SettingsError
from deedbox.shared.secret_files import json_text

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_CLIENT_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_FORM: Final = '{"name": {"api_keys": ["..."]}}'


@dataclass(frozen=True, slots=True)
class Source:
    """One tenant: its name in ``/callbacks/<source>`` and its key ring (any may sign, the first calls the API)."""

    name: str
    api_keys: tuple[str, ...] = field(repr=False)
    """Empty in a process that needs no key, such as the sweeper."""
    callback_url: str | None = None
    """The callback URL that its account and its apps should have; None: it is not checked."""
    client_ids: tuple[str, ...] = ()
    """Its API apps whose callback URL is looked at."""
    watch_account: bool = True
    """False where only the apps call back."""
    known_account: str = ""
    """The account's name without the key, where the process has no key."""

    @property
    def account(self) -> str:
        """The name of the account in Redis, which holds no key; empty if it is not known."""
        return account_of(self.api_keys[0]) if self.api_keys else self.known_account

    def without_keys(self) -> dict[str, Any]:
        """Return the entry of DEEDBOX_SOURCES for a process that needs no key."""
        return {
            "account": self.account, "callback_url": self.callback_url, "client_ids": list(self.client_ids),
            "watch_account": self.watch_account,
        }  # fmt: skip


def account_of(api_key: str) -> str:
    """Name the account of an API key, without the key: sources with one key share one budget."""
    return hashlib.blake2b(api_key.encode(), digest_size=8).hexdigest()


def parse_sources(text: str) -> dict[str, Source]:
    """Return the tenants by name, from JSON or from the JSON file that ``text`` names.

    ``default``, and an entry with ``account``, may have no keys. Raises SettingsError.
    """
    text = json_text("DEEDBOX_SOURCES", text, _FORM)
    try:
        document = json.loads(text)
        rows = {name: (entry, _keys(name, entry)) for name, entry in document.items()}
    except (ValueError, AttributeError, KeyError, TypeError):
        raise SettingsError(f"DEEDBOX_SOURCES is not of the form {_FORM}; correct the JSON.") from None
    folded: dict[str, str] = {}
    for name in rows:
        # Each source has its own folder in the document store, and some file systems do not tell these apart.
        if (twin := folded.setdefault(name.casefold(), name)) != name:
            raise SettingsError(
                f"DEEDBOX_SOURCES names the sources {twin} and {name}, which differ in case only; rename one of them."
            )
    return {name: _source(name, entry, keys) for name, (entry, keys) in rows.items()}


def _keys(name: str, entry: Any) -> tuple[Any, ...]:
    optional = name == "default" or "account" in entry
    return tuple(entry.get("api_keys", ()) if optional else entry["api_keys"])


def _source(name: str, entry: dict[str, Any], keys: tuple[Any, ...]) -> Source:
    if _NAME.fullmatch(name) is None:
        raise SettingsError(
            f"DEEDBOX_SOURCES names the source {name!r}; use 1 to 64 letters, digits, _ or -, it is part of the URL."
        )
    account_name = entry.get("account", "")
    if not isinstance(account_name, str) or not re.fullmatch(r"[0-9a-f]{0,64}", account_name, re.ASCII):
        raise SettingsError(f"DEEDBOX_SOURCES, account of the source {name}, is no account; leave it out.")
    keyless = not keys and "account" not in entry and (name != "default" or "api_keys" in entry)
    if keyless or not all(isinstance(key, str) and key.strip() for key in keys):
        raise SettingsError(
            f"DEEDBOX_SOURCES gives the source {name} no usable api_keys; list at least one key."
        )
    url = entry.get("callback_url")
    if url is not None and not (isinstance(url, str) and is_callback_url(url)):
        raise SettingsError(f"DEEDBOX_SOURCES, callback_url of the source {name}, {CALLBACK_URL_FORM}")
    ids, account = entry.get("client_ids", []), entry.get("watch_account", True)
    usable = isinstance(ids, list) and all(
        isinstance(each, str) and _CLIENT_ID.fullmatch(each) for each in ids
    )
    if not usable:
        raise SettingsError(
            f"DEEDBOX_SOURCES gives the source {name} client_ids that are no list of client ids; correct them."
        )
    if not isinstance(account, bool):
        raise SettingsError(
            f"DEEDBOX_SOURCES, watch_account of the source {name}, is neither true nor false; correct it."
        )
    return Source(name, tuple(key.strip() for key in keys), url, tuple(ids), account, account_name)
