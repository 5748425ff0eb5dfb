"""A consumer of Deedbox's clean events, to copy: it handles each event once, in order per signature request.

    python deploy/examples/consumer.py amqp://guest:guest@localhost:5672// var/consumer.db

Deedbox publishes at least once, so an event can come twice. The effect of an event and its idempotency key go into
one database transaction: a repeat finds the key and changes nothing.
"""

from __future__ import annotations

import sqlite3
import sys
from typing import Any

from kombu import Connection, Exchange, Queue
from kombu.mixins import ConsumerMixin

EVENTS = Exchange("deedbox.events", type="topic", durable=True)

# The routing key is the event type. "#" is every event; "signature_request_signed" is that type alone; "deedbox.#"
# is what Deedbox itself tells, such as deedbox.document_stored. One queue may have several bindings.
QUEUE = Queue(
    "example-consumer",
    EVENTS,
    routing_key="#",
    durable=True,
    # RabbitMQ: replicated, and one consumer at a time, because two would handle a request's events side by side.
    # Other brokers ignore this: start one consumer only.
    queue_arguments={"x-queue-type": "quorum", "x-single-active-consumer": True},
)


class Consumer(ConsumerMixin):  # type: ignore[misc]  # kombu ships no types
    """Reads the queue. kombu's mixin opens the connection again when it is lost."""

    def __init__(self, connection: Connection, database: sqlite3.Connection) -> None:
        self.connection = connection
        self.database = database
        database.execute("CREATE TABLE IF NOT EXISTS handled (idempotency_key TEXT PRIMARY KEY)")
        database.execute("CREATE TABLE IF NOT EXISTS history (request TEXT, type TEXT, time INTEGER)")

    def get_consumers(self, Consumer: Any, channel: Any) -> list[Any]:  # noqa: ARG002, N803 - the mixin's names
        """Say what to consume."""
        return [Consumer([QUEUE], on_message=self.on_message, prefetch_count=20)]

    def on_message(self, message: Any) -> None:
        """Handle one event. If that raises, the program ends, and the event comes again when the program is restarted."""
        event = message.decode()
        if event["schema_version"] != 1:
            raise SystemExit("these events are of a newer version; update this program")
        with self.database:  # one transaction
            new = self.database.execute(
                "INSERT OR IGNORE INTO handled VALUES (?)", (event["idempotency_key"],)
            ).rowcount
            if new:
                self.handle(event)
        message.ack()  # after the commit: a crash before it makes a repeat, never a loss

    def handle(self, event: dict[str, Any]) -> None:
        """Do what your service does with an event."""
        row = (event["signature_request_id"], event["type"], event["time"])
        self.database.execute("INSERT INTO history VALUES (?, ?, ?)", row)


def main() -> None:
    """Consume until stopped."""
    if len(sys.argv) != 3:  # noqa: PLR2004 - this program, the broker, the database
        raise SystemExit("usage: consumer.py BROKER_URL DATABASE_FILE")
    with Connection(sys.argv[1], heartbeat=10) as connection:
        Consumer(connection, sqlite3.connect(sys.argv[2])).run()


if __name__ == "__main__":
    main()
