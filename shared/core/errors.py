"""Errors that cross module boundaries. Each message is one sentence that says what is wrong and what to do."""

from __future__ import annotations

from collections.abc import Iterator


def causes(error: BaseException, *, contexts: bool = False) -> Iterator[BaseException]:
    """Yield what caused an error, and what caused that; each once, because ``raise error from error`` makes a circle.

    ``contexts``: also what was only being handled when it was raised.
    """
    seen = {id(error)}
    link = error.__cause__ or (error.__context__ if contexts else None)
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or (link.__context__ if contexts else None)


class DeedboxError(Exception):
    """Root of everything Deedbox raises on purpose."""


class SettingsError(DeedboxError):
    """A setting is missing, ill-formed or contradicts another; the message names it and the fix."""


class Unavailable(DeedboxError):
    """A component (broker, Redis, disk, API) did not do its part in time; trying again later may help."""


class RedisAway(Unavailable):
    """Redis does not answer; ``how`` says in a few words what was seen instead of an answer."""

    def __init__(self, how: str) -> None:
        super().__init__(f"Redis does not answer ({how}). Is it running? `deedbox check` shows details.")
        self.how = how

    def at(self, address: str) -> str:
        """Return the sentence with the address (which holds no secret): only who made the client knows it."""
        return str(self).replace("Redis does", f"Redis at {address} does", 1)


class Undecodable(DeedboxError):
    """Bytes that are not what the wire format says; trying again never helps."""


class KeyMissing(Undecodable):
    """Stored data was encrypted under a key that is not in the ring; it can be read once the key is back."""

    def __init__(self, key_id: str) -> None:
        super().__init__(
            f"stored data needs the encryption key {key_id}, which is not in DEEDBOX_ENCRYPTION_KEYS; put it back"
        )
        self.key_id = key_id


class BadCallback(DeedboxError):
    """The JSON text is no Dropbox Sign callback; ``field`` names the offending field, if it is one field."""

    def __init__(self, detail: str, field: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field
