"""Redirects of the API: followed a few times; the account's key goes to the API's own address only."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import SplitResult, urljoin, urlsplit

from urllib3 import Timeout, make_headers

from deedbox.shared.runtime.ports import is_loopback

REDIRECTS_MAX: Final = 3

_STATUSES: Final = frozenset({301, 302, 303, 307, 308})


def followed(
    pool: Any, response: Any, base_url: str, api_key: str, timeout_s: tuple[float, float], *, elsewhere: bool
) -> Any:
    """Return the answer behind the redirects of a GET; the redirect itself where it must not be followed.

    ``elsewhere``: another host may be read, without the key. Raises what urllib3 raises for no answer.
    """
    url = urljoin(base_url, response.url or "")
    for _ in range(REDIRECTS_MAX):
        location = response.headers.get("Location")
        if response.status not in _STATUSES or not location:
            break
        try:
            url = urljoin(url, location)
            target, base = urlsplit(url), urlsplit(base_url)
            ours = _origin(target) == _origin(base)
        except ValueError:  # no URL
            break
        if not (ours or (elsewhere and _is_private(target, base))):
            break
        response.close()  # its body may have no end
        headers = make_headers(basic_auth=f"{api_key}:") if ours else {}
        response = pool.request(
            "GET", url, headers=headers, preload_content=False, timeout=Timeout(*timeout_s)
        )
    return response


def _origin(url: SplitResult) -> tuple[str, str | None, int | None]:
    return url.scheme, url.hostname, url.port or {"http": 80, "https": 443}.get(url.scheme)


def _is_private(target: SplitResult, base: SplitResult) -> bool:
    """Return whether no third party can read or change the answer. Plain http only if the API itself is on this machine."""
    if target.scheme == "https":
        return bool(target.hostname)
    if target.scheme != "http" or base.scheme != "http" or not target.hostname:
        return False
    return target.hostname == base.hostname or is_loopback(target.hostname)
