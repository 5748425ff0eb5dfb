"""Another service's queue of events."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import kombu

from deedbox.shared.broker import topics
from tests.support.brokers import connect


class Receiver:
    """A queue bound to the exchange, read with kombu's own consumer."""

    def __init__(self, url: str, *keys: str) -> None:
        self._url = url
        self._name = f"test-{uuid.uuid4().hex}"
        exchange = topics.exchange()
        bindings = [kombu.binding(exchange, routing_key=key) for key in keys or ("#",)]
        self._queue = kombu.Queue(self._name, bindings=bindings, durable=True)
        with connect(url) as connection:
            self._queue(connection.default_channel).declare()

    def receive(self, count: int, patience_s: float = 20.0) -> list[Any]:
        """Wait for so many messages and for none behind them; each is acknowledged."""
        found: list[Any] = []

        def take(message: Any) -> None:
            found.append(message)
            message.ack()

        deadline = time.monotonic() + patience_s
        with (
            connect(self._url) as connection,
            kombu.Consumer(connection.default_channel, [self._queue], on_message=take, accept=["json"]),
        ):
            while time.monotonic() < deadline:
                with suppress(TimeoutError):
                    connection.drain_events(timeout=0.5)
                    continue
                if len(found) >= count:
                    return found
        raise AssertionError(f"{len(found)} of {count} messages came")

    def events(self, count: int, patience_s: float = 20.0) -> list[dict[str, Any]]:
        """Return the messages' bodies."""
        return [message.decode() for message in self.receive(count, patience_s)]

    def close(self) -> None:
        """Remove the queue."""
        with suppress(Exception), connect(self._url) as connection:
            self._queue(connection.default_channel).delete()


def short(events: Sequence[dict[str, Any]], request_id: str = "r1") -> list[str]:
    """Return the types of one request's events."""
    return [
        event["type"].removeprefix("signature_request_")
        for event in events
        if event["signature_request_id"] == request_id
    ]
