"""What every operator's command works on: one installation, attached to and never started."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from redis import Redis

from deedbox.shared import sealing
from deedbox.shared.broker import brokers
from deedbox.shared.broker.address import BrokerAddress
from deedbox.shared.broker.port import Broker, RedisServer
from deedbox.shared.core.errors import DeedboxError, RedisAway
from deedbox.shared.documents import DocumentStore, open_store
from deedbox.shared.redis import connections
from deedbox.shared.redis.address import RedisAddress
from deedbox.shared.redis.connections import translating
from deedbox.shared.redis.doorbells import Bells
from deedbox.shared.redis.scripting import Scripts
from deedbox.shared.settings import Settings


@dataclass
class Installation:
    """Settings, and clients that fail within seconds. Nothing is opened before it is asked for."""

    settings: Settings

    def __post_init__(self) -> None:
        """Take the key ring: what is stored may be encrypted. Raises SettingsError."""
        sealing.configure(self.settings)

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> Self:
        """Read the settings. Raises SettingsError."""
        return cls(Settings.load(environ))

    @cached_property
    def redis_address(self) -> RedisAddress:
        """State and RQ. Raises SettingsError if nothing is set and nothing runs here."""
        return connections.redis_address(self.settings)

    @cached_property
    def broker_address(self) -> BrokerAddress:
        """Where callbacks go. Raises SettingsError."""
        settings = self.settings
        return self.redis_address if settings.broker_url is None else brokers.broker_address(settings)

    @cached_property
    def redis(self) -> Redis:
        """State and RQ. Raises SettingsError for an address that is none."""
        return connections.brisk_redis(self.redis_address)

    @cached_property
    def broker(self) -> Broker:
        """The broker. Raises SettingsError."""
        return brokers.open_broker(self.broker_address, 2, self.settings.redis_wait_replicas)

    @cached_property
    def other_redis(self) -> RedisServer | None:
        """The broker's Redis, if it is one and not the state's. Raises SettingsError."""
        return None if self.broker_address == self.redis_address else self.broker.server

    @cached_property
    def scripts(self) -> Scripts:
        """The scripts on the state's Redis."""
        return Scripts(self.redis)

    @cached_property
    def documents(self) -> DocumentStore:
        """The document store, as this host sees it. Raises SettingsError."""
        return open_store(self.settings.documents)

    @cached_property
    def bells(self) -> Bells:
        """Doorbells of the lanes."""
        return Bells(self.redis)

    @translating()
    def now(self) -> float:
        """Return the time by Redis's clock, unix seconds. Raises Unavailable."""
        seconds, microseconds = self.redis.time()
        return float(seconds) + float(microseconds) / 1_000_000

    def close(self) -> None:
        """Close the clients that were opened."""
        for name in ("redis", "broker"):
            client = self.__dict__.get(name)
            if client is not None:
                client.close()

    def explained(self, error: DeedboxError) -> str:
        """Return the sentence of an error for people: a Redis that does not answer with its address, without secrets."""
        if isinstance(error, RedisAway):
            with suppress(DeedboxError):
                return error.at(self.redis_address.place)
        return str(error)

    def source_names(self) -> tuple[str, ...]:
        """Return the names of the tenants, as far as the settings here know them: reading needs no key."""
        return tuple(self.settings.known_sources())
