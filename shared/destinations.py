"""The HTTP receivers that DEEDBOX_DESTINATIONS defines."""

from __future__ import annotations

import json
import re
from ipaddress import ip_address
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from deedbox.shared.core.attempts import CallRate
from deedbox.shared.core.errors import SettingsError
from deedbox.shared.core.routing import Where, is_pattern
from deedbox.shared.redis.keys import DESTINATIONS_LANE, RESERVED_LANES
from deedbox.shared.runtime.ports import is_inside, is_loopback
from deedbox.shared.secret_files import json_text
from deedbox.shared.webhook_message import key_of

SETTING: Final = "DEEDBOX_DESTINATIONS"
FORM: Final = '{"crm": {"url": "https://…", "secret": "whsec_…"}}'

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_LANE: Final = re.compile(r"[A-Za-z0-9_.-]{1,100}", re.ASCII)
_URL: Final = re.compile(r"https?://[!-~]+", re.ASCII)


def _address(url: str) -> str:
    try:
        parts = urlsplit(url if _URL.fullmatch(url) else "")
        usable = parts.hostname and parts.port != 0
    except ValueError:
        raise ValueError("is no address such as https://host/path") from None
    if not usable:
        raise ValueError("is no address such as https://host/path")
    if parts.username is not None or parts.fragment:
        raise ValueError("has a user name or a fragment, which Deedbox does not send; remove it")
    return url


def _names_inside(host: str) -> bool:
    try:
        return is_inside(ip_address(host))
    except ValueError:  # a name: what it leads to is looked at before every call
        return False


def _types(types: tuple[str, ...]) -> tuple[str, ...]:
    if not types or not all(map(is_pattern, types)):
        raise ValueError(
            "is no list of event types; use exact types, a prefix such as signature_request_*, or *"
        )
    return types


def _lane(lane: str) -> str:
    if _LANE.fullmatch(lane) is None or lane in RESERVED_LANES - {DESTINATIONS_LANE}:
        raise ValueError(
            "is not usable; use 1 to 100 letters, digits, _, - or ., and none of Deedbox's own lanes"
        )
    return lane


def _rate(rate: object) -> CallRate | None:
    return None if rate is None else CallRate.parse(str(rate))


class Destination(BaseModel):
    """One receiver of events over HTTP."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=True)

    name: str
    url: Annotated[str, AfterValidator(_address), Field(repr=False)]
    """May hold a token."""
    secret: Annotated[bytes, BeforeValidator(key_of), Field(repr=False)]
    """The key that signs each message (HMAC-SHA256)."""
    types: Annotated[tuple[str, ...], Field(strict=False), AfterValidator(_types)] = ("*", "deedbox.*")
    """Patterns of event types."""
    where: Annotated[Where, BeforeValidator(Where.of)] = Where()
    lane: Annotated[str, AfterValidator(_lane)] = DESTINATIONS_LANE
    rate: Annotated[CallRate | None, BeforeValidator(_rate)] = None
    """Messages at most, such as ``100/m``."""
    concurrency: Annotated[int | None, Field(ge=1)] = None
    """Messages at most at a time."""
    payload: bool = True
    """False: the callback's body, which names signers, is left out."""
    allow_private: bool = False
    """True: it may be in a private network, or on this machine."""


def parse_destinations(text: str, *, plain_http: bool = False) -> dict[str, Destination]:
    """Return the destinations by name, from JSON or from the JSON file that ``text`` names.

    Raises SettingsError: one sentence that names the destination and the field, and shows no URL and no secret.
    """
    text = json_text(SETTING, text, FORM)
    try:
        document = json.loads(text)
        rows = {name: dict(row) for name, row in document.items()}
    except (ValueError, TypeError, AttributeError):
        raise SettingsError(f"{SETTING} is not JSON of the form {FORM}; correct it.") from None
    return {name: _destination(name, row, plain_http=plain_http) for name, row in rows.items()}


def _destination(name: str, row: dict[str, Any], *, plain_http: bool) -> Destination:
    if _NAME.fullmatch(name) is None:
        raise SettingsError(f"{SETTING} names the destination {name!r}; use 1 to 64 letters, digits, _ or -.")
    try:
        found = Destination.model_validate({**row, "name": name})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        said = str(first["msg"]).removeprefix("Value error, ")
        field = str(first["loc"][0])
        if first["type"] == "extra_forbidden":
            said = f"is no field; use some of {', '.join(sorted(set(Destination.model_fields) - {'name'}))}"
        if first["type"] == "missing":
            said = f"is missing; a destination looks like {FORM}"
        raise SettingsError(f"{SETTING}, destination {name}: {field} {said[:1].lower()}{said[1:]}.") from None
    parts = urlsplit(found.url)
    local = is_loopback(parts.hostname or "")
    if not found.allow_private and (local or _names_inside(parts.hostname or "")):
        raise SettingsError(
            f"{SETTING}, destination {name}: url names an address of this machine or of a private network; "
            'set "allow_private": true if that is meant.'
        )
    if parts.scheme == "http" and not local and not plain_http:
        raise SettingsError(
            f"{SETTING}, destination {name}: url begins with http:// and names another machine, so that events can be read "
            "on the way; use https://, or set DEEDBOX_PLAIN_HTTP=on."
        )
    return found
