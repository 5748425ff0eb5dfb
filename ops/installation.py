"""What every operator's command works on: one installation, attached to and never started."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from redis import Redis

from deedbox.ops.wording.addresses import place
from deedbox.shared.broker import topology
from deedbox.shared.core.errors import DeedboxError, RedisAway, SettingsError
from deedbox.shared.redis import connections
from deedbox.shared.redis.doorbells import Bells
from deedbox.shared.redis.scripting import Scripts
from deedbox.shared.settings import Settings


@dataclass
class Installation:
    """Settings, and clients that fail within seconds. Nothing is opened before it is asked for."""

    settings: Settings

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> Self:
        """Read the settings. Raises SettingsError."""
        return cls(Settings.load(environ))

    @cached_property
    def redis_url(self) -> str:
        """Address of state and RQ; a secret. Raises SettingsError if nothing is set and nothing runs here."""
        return connections.redis_url(self.settings)

    @cached_property
    def broker_url(self) -> str:
        """Address of the broker; a secret. Raises SettingsError."""
        return self.redis_url if self.settings.broker_url is None else connections.broker_url(self.settings)

    @cached_property
    def redis(self) -> Redis:
        """State and RQ. Raises SettingsError for an address that is none."""
        return _client(self.redis_url, "DEEDBOX_REDIS_URL")

    @cached_property
    def broker_redis(self) -> Redis | None:
        """The Redis that holds the raw queue; None if the broker is none. Raises SettingsError."""
        if not topology.is_redis(self.broker_url):
            return None
        if self.broker_url == self.redis_url:
            return self.redis
        return _client(self.broker_url, "DEEDBOX_BROKER_URL")

    @cached_property
    def scripts(self) -> Scripts:
        """The scripts on the state's Redis."""
        return Scripts(self.redis)

    @cached_property
    def bells(self) -> Bells:
        """Doorbells of the lanes."""
        return Bells(self.redis)

    def close(self) -> None:
        """Close the clients that were opened."""
        for name in ("redis", "broker_redis"):
            client = self.__dict__.get(name)
            if client is not None:
                client.close()

    def explained(self, error: DeedboxError) -> str:
        """Return the sentence of an error for people: a Redis that does not answer with its address, without secrets."""
        if isinstance(error, RedisAway):
            with suppress(DeedboxError):
                return error.at(place(self.redis_url))
        return str(error)

    def source_names(self) -> tuple[str, ...]:
        """Return the names of the tenants, as far as the settings here know them: reading needs no key."""
        try:
            return tuple(self.settings.sources())
        except SettingsError:
            return ("default",)


def _client(url: str, setting: str) -> Redis:
    try:
        return connections.brisk_redis(url)
    except ValueError:
        # redis-py's message may quote the URL, which holds a password.
        raise SettingsError(f"{setting} is no usable redis:// URL; correct it.") from None
