"""The callback URL of an account or an API app: what it should be, and what is wrong with what it is. Pure."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

CALLBACK_URL_FORM: Final = (
    "is no public https URL; it looks like https://hooks.example.com/callbacks. "
    "Dropbox Sign calls no http URL."
)
"""The end of a sentence that names the setting."""

NOT_SET: Final = "not set"


def is_callback_url(url: str) -> bool:
    """Return whether Dropbox Sign could call this URL back."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    printable = url.isprintable() and " " not in url
    return printable and parts.scheme == "https" and bool(parts.hostname) and not parts.fragment


def shown(url: object) -> str:
    """Return a URL for people, without user, password and query; they may be secrets."""
    if not isinstance(url, str) or not url:
        return NOT_SET
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "no URL"
    text = f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"
    return "".join(char if char.isprintable() else "?" for char in text)[:200]


def is_expected(expected: str, found: object) -> bool:
    """Return whether the API shows the expected URL; the spelling of the host and a last slash do not matter."""
    return isinstance(found, str) and _canonical(found) == _canonical(expected)


def _canonical(url: str) -> str:
    try:
        parts = urlsplit(url.strip())
        port = None if parts.port == 443 else parts.port  # noqa: PLR2004 - the default of https
    except ValueError:
        return url
    user = parts.netloc.rpartition("@")[0]
    host = f"{parts.hostname or ''}:{port or ''}"
    return f"{parts.scheme}|{user}|{host}|{parts.path.rstrip('/')}|{parts.query}"
