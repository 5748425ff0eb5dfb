"""Named tokens with scopes: who may read, fetch documents, and change things."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from deedbox.shared.core.errors import SettingsError
from deedbox.shared.runtime.data_dir import make_private, writable, write_private
from deedbox.shared.settings import Settings

ADMIN: Final = "admin"
GENERATED: Final = "local"
"""Name of the token that is made when none is configured."""

_FORM: Final = '{"name": {"token": "...", "scopes": ["read", "documents", "write"]}}'
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
    secret: str = field(repr=False)
    scopes: frozenset[Scope]


@dataclass(frozen=True, slots=True)
class Tokens:
    """All tokens of an installation."""

    rows: tuple[Token, ...]

    def find(self, presented: str) -> Token | None:
        """Return the token whose secret this is. Every row is compared, in constant time."""
        found = None
        mine = presented.encode("utf-8", "replace")
        for row in self.rows:
            if hmac.compare_digest(mine, row.secret.encode()):
                found = row
        return found

    def named(self, name: str) -> Token | None:
        """Return the token of that name."""
        return next((row for row in self.rows if row.name == name), None)

    def session_key(self) -> bytes:
        """Return the key that signs sessions: it changes with any token, which ends every session."""
        text = json.dumps(sorted((row.name, row.secret, sorted(row.scopes)) for row in self.rows))
        return hashlib.sha256(b"deedbox.ops.session\0" + text.encode()).digest()


def load(settings: Settings) -> Tokens:
    """Return the configured tokens; if there are none, the one in ``<data dir>/ops/token``, made when needed.

    Raises SettingsError in one sentence; no token is quoted.
    """
    rows = list(_parse(settings.ops_tokens_text.get_secret_value()) if settings.ops_tokens_text else ())
    if settings.ops_token is not None:
        rows = [row for row in rows if row.name != ADMIN]
        rows.append(
            Token(ADMIN, _usable(settings.ops_token.get_secret_value(), "DEEDBOX_OPS_TOKEN"), ALL_SCOPES)
        )
    if not rows:
        rows.append(Token(GENERATED, _generated(token_path(settings)), ALL_SCOPES))
    return Tokens(tuple(rows))


def token_path(settings: Settings) -> Path:
    """Return where the generated token is, for the owner's eyes only."""
    return settings.data_dir / "ops" / "token"


def is_generated(settings: Settings) -> bool:
    """Tell whether no token is configured."""
    return settings.ops_token is None and settings.ops_tokens_text is None


def _parse(text: str) -> Iterable[Token]:
    if not text.lstrip().startswith("{"):
        try:
            text = Path(text).read_text(encoding="utf-8")
        except OSError as error:
            raise SettingsError(
                f"DEEDBOX_OPS_TOKENS is neither JSON nor a readable file ({error.strerror}); it looks like {_FORM}."
            ) from None
    try:
        document = json.loads(text)
        rows = [(str(name), str(row["token"]), list(row["scopes"])) for name, row in document.items()]
    except (ValueError, AttributeError, KeyError, TypeError):
        raise SettingsError(f"DEEDBOX_OPS_TOKENS is not of the form {_FORM}; correct the JSON.") from None
    for name, secret, scopes in rows:
        unknown = sorted(set(map(str, scopes)) - set(Scope))
        if unknown or not scopes:
            raise SettingsError(
                f"DEEDBOX_OPS_TOKENS gives the token {name!r} no usable scopes; use some of {', '.join(Scope)}."
            )
        yield Token(
            name, _usable(secret, f"DEEDBOX_OPS_TOKENS, token {name!r}"), frozenset(map(Scope, scopes))
        )


def _usable(secret: str, setting: str) -> str:
    secret = secret.strip()
    if len(secret) < TOKEN_MIN_CHARS or not secret.isascii() or not secret.isprintable():
        raise SettingsError(
            f"{setting}: the token is too weak; use at least {TOKEN_MIN_CHARS} plain characters, "
            "such as the output of `openssl rand -hex 24`."
        )
    return secret


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
    return _usable(secret, str(path))
