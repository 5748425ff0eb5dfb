"""Publishes many envelopes over AMQP and then waits for all their confirms, each by its number.

RabbitMQ needs one fsync for a publish that is alone; many at once share it. py-amqp's own wait takes any ack for the
one that it waits for. So here every confirm is matched with its publish.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import amqp

from deedbox.shared.core.envelope import Envelope
from deedbox.shared.redis import keys

TOTAL_TIMEOUT_S: Final = 5.0
"""Longest wait for all the confirms of a batch, while some keep coming."""

_PERSISTENT: Final = 2
"""AMQP's delivery mode of a message that the broker writes to its disk."""


class NotConfirmed(Exception):
    """RabbitMQ refused some messages, could not route them, or did not say what became of them."""


@dataclass(slots=True)
class Confirms:
    """Which of the messages numbered 1 to ``count`` are not confirmed yet; numbers as in AMQP's delivery tags."""

    count: int
    waiting: set[int] = field(init=False)
    refused: int = 0
    returned: int = 0
    """Could not be routed. RabbitMQ confirms such a message all the same, after it has returned it."""

    def __post_init__(self) -> None:
        self.waiting = set(range(1, self.count + 1))

    def ack(self, tag: int, multiple: bool) -> None:  # noqa: FBT001 - py-amqp calls it so
        """Note a confirm: of one message, or of all up to it."""
        self._settle(tag, multiple=multiple)

    def nack(self, tag: int, multiple: bool) -> None:  # noqa: FBT001 - py-amqp calls it so
        """Note a refusal: of one message, or of all up to it."""
        self.refused += self._settle(tag, multiple=multiple)

    def unroutable(self, *_returned: object) -> None:
        """Note a message that came back."""
        self.returned += 1

    def _settle(self, tag: int, *, multiple: bool) -> int:
        # A tag of 0 with `multiple` means: everything so far.
        settled = {each for each in self.waiting if not tag or each <= tag} if multiple else {tag}
        before = len(self.waiting)
        self.waiting -= settled
        return before - len(self.waiting)


def publish_all(
    connection: Any,
    envelopes: Sequence[Envelope],
    wait_s: float,
    monotonic: Callable[[], float] = time.monotonic,
) -> None:
    """Publish to the raw queue over a kombu connection; on return RabbitMQ has confirmed every one.

    ``wait_s``: longest wait for the next confirm. Raises NotConfirmed and py-amqp's errors; any of the envelopes
    may then have arrived, and the connection must not be used again: its late confirms would be taken for others'.
    """
    confirms = Confirms(len(envelopes))
    # A separate channel: its tags begin at 1, and its confirms do not mix with others.
    channel = connection.channel()
    channel.confirm_select()
    channel.events["basic_ack"].add(confirms.ack)
    channel.events["basic_nack"].add(confirms.nack)
    channel.events["basic_return"].add(confirms.unroutable)
    for envelope in envelopes:
        _send(channel, envelope)
    _wait(channel, confirms, wait_s, monotonic)
    channel.close()


def _send(channel: Any, envelope: Envelope) -> None:
    message = channel.prepare_message(
        envelope.body,
        content_type="application/octet-stream",
        content_encoding="binary",
        headers=envelope.headers(),
        properties={"delivery_mode": _PERSISTENT},
    )
    # Not the channel's own method: with confirms switched on, that one waits for each message.
    amqp.Channel.basic_publish(channel, message, exchange="", routing_key=keys.RAW_QUEUE, mandatory=True)


def _wait(channel: Any, confirms: Confirms, wait_s: float, monotonic: Callable[[], float]) -> None:
    until = monotonic() + TOTAL_TIMEOUT_S
    while confirms.waiting:
        left_s = until - monotonic()
        if left_s <= 0:
            raise NotConfirmed(f"{len(confirms.waiting)} of {confirms.count} were not confirmed in time")
        channel.connection.drain_events(timeout=min(wait_s, left_s))
    if confirms.refused or confirms.returned:
        raise NotConfirmed(f"{confirms.refused} were refused, {confirms.returned} could not be routed")
