"""A broker in this process's memory, for tests: it obeys the contract that the real ones obey, and loses all at the end."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from deedbox.shared.broker.address import SqsAddress
from deedbox.shared.broker.message import decode_kombu, encode_kombu
from deedbox.shared.broker.port import BATCH, WAIT_S, BrokerLook, TopicMessage, Topics
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.errors import Unavailable
from deedbox.shared.redis.address import RedisAddress
from deedbox.shared.redis.inbox import Load
from deedbox.shared.redis.script_calls import RawClaim


class MemoryBroker:
    """A queue. ``is_away`` makes it refuse everything."""

    name = "memory"
    server = None
    address = SqsAddress("memory")

    def __init__(self) -> None:
        self.is_away = False
        self.waiting: deque[bytes] = deque()
        """Messages in kombu's form, oldest first."""
        self.dead: deque[bytes] = deque()
        self.topic_messages: list[TopicMessage] = []
        self.arrived = threading.Condition()

    def publish(self, envelope: Envelope) -> None:
        self.publish_many([envelope])

    def publish_many(self, envelopes: Sequence[Envelope]) -> None:
        self.ping()
        with self.arrived:
            self.waiting.extend(encode_kombu(each.headers(), each.body) for each in envelopes)
            self.arrived.notify_all()

    def ping(self) -> None:
        if self.is_away:
            raise Unavailable("the broker cannot be reached (told so)")

    def fullness(self) -> float | None:
        self.ping()
        return None

    def demand(self) -> None:
        """Nothing makes it unfit."""

    def look(self) -> BrokerLook:
        self.ping()
        with self.arrived:
            ages = [
                time.time() - float(decode_kombu(each)[0]["received_at"]) for each in list(self.waiting)[:1]
            ]
            return BrokerLook(len(self.waiting), max(0.0, ages[0]) if ages else None, dead=len(self.dead))

    def dead_depth(self) -> int:
        return self.look().dead

    def take_dead(self) -> Iterator[tuple[bytes, Callable[[], None]]]:
        for message in list(self.dead):
            yield message, lambda message=message: self.dead.remove(message)  # type: ignore[misc]

    def consumers(self, bridge: str, state: RedisAddress) -> Sequence[Callable[[], MemoryConsumer]]:  # noqa: ARG002
        return [lambda: MemoryConsumer(self)]

    def topics(self) -> Topics:
        return _Topics(self)

    def close(self) -> None:
        """Nothing is open."""


class _Topics:
    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    def publish(self, message: TopicMessage) -> None:
        self._broker.ping()
        self._broker.topic_messages.append(message)

    def close(self) -> None:
        """Nothing is open."""


class MemoryConsumer:
    """Takes from the queue, and gives back when it is closed."""

    claim: RawClaim | None = None

    def __init__(self, broker: MemoryBroker) -> None:
        broker.ping()
        self._broker = broker
        self._taken: list[bytes] = []

    def take(self, load: Load) -> int:
        self._broker.ping()
        there = 0
        if not self._taken:
            with self._broker.arrived:
                there = len(self._broker.waiting)
                if not there:
                    self._broker.arrived.wait(WAIT_S)
                waiting = self._broker.waiting
                self._taken = [waiting.popleft() for _ in range(min(BATCH, len(waiting)))]
        for message in self._taken:
            load.add_message(message)
        return min(there, BATCH)

    def done(self) -> None:
        self._broker.ping()
        self._taken = []

    def keep(self) -> None:
        self._broker.ping()

    def close(self) -> None:
        with self._broker.arrived:
            self._broker.waiting.extendleft(reversed(self._taken))
        self._taken = []
