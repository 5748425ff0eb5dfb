"""The HTTP receivers that DEEDBOX_DESTINATIONS defines."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from deedbox.shared.core.errors import SettingsError
from deedbox.shared.core.routing import is_pattern
from deedbox.shared.core.where import Where
from deedbox.shared.runtime.ports import is_loopback

SETTING: Final = "DEEDBOX_DESTINATIONS"
FORM: Final = '{"crm": {"url": "https://…", "secret": "whsec_…"}}'

SECRET_PREFIX: Final = "whsec_"
SECRET_BYTES: Final = (24, 64)
"""How long the decoded secret may be, as Standard Webhooks demands."""

DEFAULT_LANE: Final = "destinations"
DEFAULT_PATIENCE_S: Final = 6.0 * 86_400
"""How long a receiver may be away before its events become dead letters; events are kept for 7 days at least."""

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_LANE: Final = re.compile(r"[A-Za-z0-9_.-]{1,100}", re.ASCII)
_KNOWN: Final = {"url", "secret", "types", "where", "lane", "payload", "allow_private"}


@dataclass(frozen=True, slots=True)
class Destination:
    """One receiver of events over HTTP."""

    name: str
    url: str = field(repr=False)
    """May hold a token."""
    key: bytes = field(repr=False)
    """Signs each message (HMAC-SHA256, Standard Webhooks)."""
    types: tuple[str, ...] = ("*", "deedbox.*")
    """Patterns of event types."""
    where: Where = Where()
    lane: str = DEFAULT_LANE
    payload: bool = True
    """False: the callback's body, which names signers, is left out."""
    allow_private: bool = False
    """True: it may be in a private network, or on this machine."""

    @property
    def host(self) -> str:
        """The host of its URL, for messages."""
        return urlsplit(self.url).hostname or ""


def parse_destinations(text: str, *, plain_http: bool = False) -> dict[str, Destination]:
    """Return the destinations by name, from JSON or from the JSON file that ``text`` names.

    Raises SettingsError: one sentence that names the destination and the field, and shows no URL and no secret.
    """
    try:
        document = json.loads(_json(text))
    except ValueError:
        raise SettingsError(f"{SETTING} is not JSON of the form {FORM}; correct it.") from None
    if not isinstance(document, dict):
        raise SettingsError(f"{SETTING} is not of the form {FORM}; correct it.")
    return {name: _destination(name, row, plain_http=plain_http) for name, row in document.items()}


def _json(text: str) -> str:
    if text.lstrip().startswith("{"):
        return text
    try:
        return Path(text).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", "") or type(error).__name__
        raise SettingsError(
            f"{SETTING} is neither JSON nor a readable file ({why}); it looks like {FORM}."
        ) from None


def _destination(name: str, row: Any, *, plain_http: bool) -> Destination:
    def wrong(what: str) -> SettingsError:
        return SettingsError(f"{SETTING}, destination {name}: {what}.")

    if _NAME.fullmatch(name) is None:
        raise SettingsError(f"{SETTING} names the destination {name!r}; use 1 to 64 letters, digits, _ or -.")
    if not isinstance(row, Mapping):
        raise wrong(f"it is no object; it looks like {FORM}")
    if unknown := sorted(set(row) - _KNOWN):
        raise wrong(f"{unknown[0]!r} is no field; use some of {', '.join(sorted(_KNOWN))}")
    for flag in ("allow_private", "payload"):
        if not isinstance(row.get(flag, True), bool):
            raise wrong(f"{flag} is neither true nor false; correct it")
    allow_private = row.get("allow_private", False)
    url, types, lane = row.get("url"), row.get("types", ["*", "deedbox.*"]), row.get("lane", DEFAULT_LANE)
    if not isinstance(url, str) or (trouble := _trouble(url, allow_private=allow_private, plain_http=plain_http)):
        raise wrong(trouble if isinstance(url, str) else "url is missing; name the address that receives the events")
    if not isinstance(types, list) or not types or not all(isinstance(each, str) and is_pattern(each) for each in types):
        raise wrong("types is no list of event types; use exact types, a prefix such as signature_request_*, or *")
    if not isinstance(lane, str) or _LANE.fullmatch(lane) is None:
        raise wrong("lane is not usable; use 1 to 100 letters, digits, _, - or .")
    try:
        where = Where.of(row.get("where"))
        key = _key(row.get("secret"))
    except ValueError as error:
        raise wrong(str(error)) from None
    return Destination(name, url, key, tuple(types), where, lane, row.get("payload", True), allow_private)


def _trouble(url: str, *, allow_private: bool, plain_http: bool) -> str:
    """Return what is wrong with a URL; empty: nothing."""
    try:
        parts: SplitResult = urlsplit(url)
        port = parts.port
    except ValueError:
        return "url cannot be read; write https://host/path"
    if parts.scheme not in {"https", "http"} or not parts.hostname or port == 0 or not url.isascii() or " " in url:
        return "url is no address such as https://host/path; correct it"
    if parts.username is not None or parts.fragment:
        return "url has a user name or a fragment, which Deedbox does not send; remove it"
    local = is_loopback(parts.hostname)
    if local and not allow_private:
        return 'url names this machine; set "allow_private": true if that is meant'
    if parts.scheme == "http" and not local and not plain_http:
        return (
            "url begins with http:// and names another machine, so that events can be read on the way; use https://, "
            "or set DEEDBOX_PLAIN_HTTP=on"
        )
    return ""


def _key(secret: object) -> bytes:
    """Return the bytes of a Standard Webhooks secret. Raises ValueError."""
    low, high = SECRET_BYTES
    form = f"{SECRET_PREFIX} and the base64 of {low} to {high} random bytes; `openssl rand -base64 32` makes them"
    if not isinstance(secret, str):
        raise ValueError(f"secret is missing; it is {form}")  # noqa: TRY004 - one kind of error for callers
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(SECRET_PREFIX) or not low <= len(key) <= high:
        raise ValueError(f"secret is not usable; it is {form}")
    return key
