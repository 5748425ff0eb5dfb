"""Named tokens with scopes: who may read, fetch documents, and change things."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from deedbox.shared.core.errors import SettingsError
from deedbox.shared.runtime.data_dir import make_private, writable, write_private
from deedbox.shared.secret_files import json_text
from deedbox.shared.settings import Settings

ADMIN: Final = "admin"
GENERATED: Final = "local"
"""Name of the token that is made when none is configured."""

_FORM: Final = '{"name": {"token": "...", "scopes": ["read", "documents", "write"]}}'
"""Instead of ``token``, ``sha256`` holds the hexadecimal SHA-256 of it: then the setting opens nothing."""

_DIGEST: Final = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
TOKEN_MIN_CHARS: Final = 16


class Scope(StrEnum):
    """What a token may do."""

    READ = "read"
    """See state: queues, timelines, metrics, the list of events. It includes titles of requests, not documents."""
    DOCUMENTS = "documents"
    """Fetch stored documents and payloads of events: both name signers."""
    WRITE = "write"
    """Redrive, discard, and whatever else changes something."""


ALL_SCOPES: Final = frozenset(Scope)


@dataclass(frozen=True, slots=True)
class Token:
    """One token."""

    name: str
    digest: str = field(repr=False)
    """Hexadecimal SHA-256 of the secret, which is kept nowhere."""
    scopes: frozenset[Scope]


@dataclass(frozen=True, slots=True)
class Tokens:
    """All tokens of an installation."""

    rows: tuple[Token, ...]

    def find(self, presented: str) -> Token | None:
        """Return the token whose secret this is. Every row is compared, in constant time."""
        found = None
        mine = digest_of(presented)
        for row in self.rows:
            if hmac.compare_digest(mine, row.digest):
                found = row
        return found

    def of(self, digest: str) -> Token | None:
        """Return the token that a session was opened with, unless it was changed or removed meanwhile."""
        return next((row for row in self.rows if row.digest == digest), None)


def digest_of(secret: str) -> str:
    """Return what is kept of a token. Without salt or stretching: tokens are random texts, not passwords."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def load(settings: Settings) -> Tokens:
    """Return the configured tokens; if there are none, the one in ``<data dir>/ops/token``, made when needed.

    Raises SettingsError in one sentence; no token is quoted.
    """
    rows = list(_parse(settings.ops_tokens_text.get_secret_value()) if settings.ops_tokens_text else ())
    if settings.ops_token is not None:
        rows = [row for row in rows if row.name != ADMIN]
        rows.append(
            Token(ADMIN, _digest(settings.ops_token.get_secret_value(), "DEEDBOX_OPS_TOKEN"), ALL_SCOPES)
        )
    if not rows:
        rows.append(Token(GENERATED, _generated(settings.data_dir / "ops" / "token"), ALL_SCOPES))
    return Tokens(tuple(rows))


def _parse(text: str) -> Iterable[Token]:
    text = json_text("DEEDBOX_OPS_TOKENS", text, _FORM)
    try:
        document = json.loads(text)
        rows = [(str(name), dict(row), list(row["scopes"])) for name, row in document.items()]
    except (ValueError, AttributeError, KeyError, TypeError):
        raise SettingsError(f"DEEDBOX_OPS_TOKENS is not of the form {_FORM}; correct the JSON.") from None
    for name, row, scopes in rows:
        unknown = sorted(set(map(str, scopes)) - set(Scope))
        if unknown or not scopes:
            raise SettingsError(
                f"DEEDBOX_OPS_TOKENS gives the token {name!r} no usable scopes; use some of {', '.join(Scope)}."
            )
        yield Token(name, _listed(name, row), frozenset(map(Scope, scopes)))


def _listed(name: str, row: Mapping[str, Any]) -> str:
    """Return the digest of a token that is listed as it is, or as its digest."""
    setting = f"DEEDBOX_OPS_TOKENS, token {name!r}"
    if ("token" in row) == ("sha256" in row):
        raise SettingsError(f"{setting}: give either token or sha256; the form is {_FORM}.")
    if "token" in row:
        return _digest(str(row["token"]), setting)
    digest = str(row["sha256"]).strip()
    if _DIGEST.fullmatch(digest) is None:
        raise SettingsError(
            f"{setting}: sha256 is not a SHA-256 in 64 hexadecimal digits; `printf %s TOKEN | sha256sum` prints it."
        )
    return digest.lower()


def _digest(secret: str, setting: str) -> str:
    """Check a token, and return its digest."""
    secret = secret.strip()
    if len(secret) < TOKEN_MIN_CHARS or not secret.isascii() or not secret.isprintable():
        raise SettingsError(
            f"{setting}: the token is too weak; use at least {TOKEN_MIN_CHARS} plain characters, "
            "such as the output of `openssl rand -hex 24`."
        )
    return digest_of(secret)


def _generated(path: Path) -> str:
    with writable(path.parent):
        make_private(path.parent)
        if not path.exists():
            draft = path.with_name(f".token.{os.getpid()}.{secrets.token_hex(4)}")
            write_private(draft, secrets.token_urlsafe(24) + "\n")
            # A link fails if the name exists: of two processes that start at once, both use the first one's token.
            with suppress(FileExistsError):
                os.link(draft, path)
            draft.unlink()
        secret = path.read_text(encoding="utf-8")
    return _digest(secret, str(path))
