"""What must hold between settings. Each rule raises ValueError: one sentence that names the variable and the fix."""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from deedbox.shared.callback_url import CALLBACK_URL_FORM, is_callback_url
from deedbox.shared.core.routing import is_pattern
from deedbox.shared.runtime.ports import is_loopback

if TYPE_CHECKING:
    from deedbox.shared.settings import Settings


def demand(settings: Settings) -> None:
    """Check all rules. Raises ValueError for the first one that is broken."""
    for rule in (_retention, _api, _alerts, _proxies, _encryption, _synthesis):
        rule(settings)


def _api(settings: Settings) -> None:
    if not re.fullmatch(r"https?://[^/\s]+(/\S*)?/v3", settings.api_url):
        raise ValueError("DEEDBOX_API_URL is not a URL that ends in /v3; the vendor's is the default.")
    parts = urlsplit(settings.api_url)
    if parts.scheme == "http" and settings.plain_http == "off" and not is_loopback(parts.hostname or ""):
        raise ValueError(
            "DEEDBOX_API_URL begins with http:// and names another machine, so that the API key could be read on the "
            "way; use https://, or set DEEDBOX_PLAIN_HTTP=on."
        )


def _retention(settings: Settings) -> None:
    if settings.event_retention_days > settings.state_retention_days:
        raise ValueError(
            f"DEEDBOX_EVENT_RETENTION_DAYS ({settings.event_retention_days}) is more than DEEDBOX_STATE_RETENTION_DAYS "
            f"({settings.state_retention_days}), and a body that outlives its request's state cannot be found to be "
            "erased; lower the first or raise the second."
        )


def _alerts(settings: Settings) -> None:
    if "alert" in settings.builtins and settings.alert_urls is None:
        raise ValueError(
            "DEEDBOX_BUILTINS names alert, and DEEDBOX_ALERT_URLS is not set; say there where alerts go."
        )
    unusable = [each for each in settings.alert_events if not is_pattern(each)]
    if unusable:
        raise ValueError(
            f"DEEDBOX_ALERT_EVENTS names {unusable[0]!r}, which is no event type; "
            "use exact types, a prefix such as template_*, or none."
        )
    if settings.callback_url is not None and not is_callback_url(settings.callback_url):
        raise ValueError(f"DEEDBOX_CALLBACK_URL {CALLBACK_URL_FORM}")


def _proxies(settings: Settings) -> None:
    for each in settings.ops_trusted_proxies:
        try:
            ip_network(each, strict=False)
        except ValueError:
            raise ValueError(
                f"DEEDBOX_OPS_TRUSTED_PROXIES names {each!r}, which is no IP address and no network such as 10.0.0.0/8."
            ) from None
    if settings.ops_proxy_user_header is not None and not settings.ops_trusted_proxies:
        raise ValueError(
            "DEEDBOX_OPS_PROXY_USER_HEADER is set and DEEDBOX_OPS_TRUSTED_PROXIES is not; name there the address of the "
            "proxy that sets the header, or everybody could."
        )


def _encryption(settings: Settings) -> None:
    if settings.encryption_ring and settings.alert_details == "on":
        raise ValueError(
            "DEEDBOX_ALERT_DETAILS=on keeps titles in Redis as they are, and DEEDBOX_ENCRYPTION_KEYS is set; "
            "unset one of them."
        )


def _synthesis(settings: Settings) -> None:
    if settings.synthesise == "on" and "reconcile" not in settings.enabled_builtins:
        raise ValueError(
            "DEEDBOX_SYNTHESISE=on, and DEEDBOX_BUILTINS leaves out reconcile, which would do it; add it, or set off."
        )
