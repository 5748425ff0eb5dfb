"""Where alerts go: the URLs of DEEDBOX_ALERT_URLS, and Apprise, which knows how each service takes a message.

The URLs are secrets, and so are parts of them that look harmless: Slack's host is a token. What is shown of a URL is
its scheme, and its host only where every form of the service's URLs has a host in that place.
"""

from __future__ import annotations

import hashlib
import logging
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from deedbox.shared.core.errors import SettingsError
from deedbox.shared.runtime.ports import is_loopback

if TYPE_CHECKING:
    from deedbox.shared.settings import Settings

_BETWEEN: Final = re.compile(r"[\r\n]+|,\s*(?=[A-Za-z][A-Za-z0-9+.-]{0,31}://)")


@dataclass(frozen=True, slots=True)
class AlertTarget:
    """One receiver. Nothing of its URL shows in ``repr``."""

    number: int
    """Its place in the setting, from 1."""
    url: str = field(repr=False)

    @property
    def identity(self) -> str:
        """Name it in Redis without its URL: it stays the same when the setting is put in another order."""
        return hashlib.blake2b(self.url.encode(), digest_size=8).hexdigest()


def receivers(settings: Settings) -> tuple[AlertTarget, ...]:
    """Return the receivers of the settings, each once; nothing is parsed yet."""
    text = settings.alert_urls.get_secret_value() if settings.alert_urls else ""
    urls = [part.strip().strip(",").strip() for part in _BETWEEN.split(text)]
    return tuple(AlertTarget(number, url) for number, url in enumerate(dict.fromkeys(filter(None, urls)), 1))


def demand(settings: Settings) -> tuple[AlertTarget, ...]:
    """Return the receivers; Apprise parses every URL. Raises SettingsError that counts them and quotes none."""
    found = receivers(settings)
    for receiver in found:
        service = _service(receiver)
        which = f"DEEDBOX_ALERT_URLS: URL {receiver.number} of {len(found)}"
        if service is None:
            raise SettingsError(
                f"{which} is not one that Apprise understands; "
                "correct it, it looks like slack://token/token/token, mailtos://user:password@host or jsons://host."
            )
        if settings.plain_http == "off" and _is_plain(service):
            raise SettingsError(
                f"{which} sends without TLS to another machine; use the form with TLS, such as jsons:// or mailtos://, "
                "or set DEEDBOX_PLAIN_HTTP=on."
            )
    return found


def _is_plain(service: Any) -> bool:
    """Tell whether messages travel unencrypted, as far as Apprise's schemes say: json but not jsons, mailto but not mailtos."""
    return _has_host(service) and not service.secure and not is_loopback(service.host or "localhost")


def _has_host(service: Any) -> bool:
    """Tell whether every form of the service's URLs has a host where others have a token."""
    return all("{host}" in form for form in service.templates)


def described(receiver: AlertTarget) -> str:
    """Name a receiver for people, without its secrets."""
    service = _service(receiver)
    if service is None:
        return f"{receiver.number}: not understood"
    scheme = receiver.url.partition("://")[0].lower()
    host = f"://{service.host}" if _has_host(service) else ""
    return f"{receiver.number}: {service.service_name}, {scheme}{host}"


def send(receiver: AlertTarget, title: str, body: str, severity: str) -> bool:
    """Send one message, once; Apprise's own timeouts bound it. ``severity``: failure, warning, success or info.

    Returns whether the receiver took it.
    """
    service = _service(receiver)
    if service is None:
        return False
    try:
        return bool(service.notify(body=body, title=title, notify_type=severity, body_format="text"))
    except Exception:  # noqa: BLE001 - what a service's module raises is its own, and may quote the URL
        return False


def _service(receiver: AlertTarget) -> Any:
    # Here, not at the top: importing Apprise costs memory and time that only those who send should pay.
    import apprise

    # Its log quotes URLs and answers. What failed is known from the return value.
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    # It would keep notes on the disk of whichever process sends.
    asset = apprise.AppriseAsset(storage_mode=apprise.PersistentStoreMode.MEMORY)
    return apprise.Apprise.instantiate(receiver.url, asset=asset, suppress_exceptions=True)
