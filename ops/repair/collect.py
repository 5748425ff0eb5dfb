"""Makes dead letters of what the broker gave up delivering, so that there is one place to look and one way back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from deedbox.shared.broker.port import Broker
from deedbox.shared.core.callback import parse_callback
from deedbox.shared.core.errors import BadCallback, Unavailable
from deedbox.shared.core.reasons import DeathReason
from deedbox.shared.redis.inbox import NO_BATCH, callback_in, stream_of
from deedbox.shared.redis.scripting import SERVER_CLOCK, Scripts

DETAIL: Final = "the broker delivered it again and again, and no bridge acknowledged it"


def collect(broker: Broker, scripts: Scripts) -> int:
    """File each message as a dead letter, then remove it from the broker. Returns how many.

    A crash in between makes two letters of one message: that is seen, a loss is not. Raises Unavailable.
    """
    moved = 0
    try:
        for message, remove in broker.take_dead():
            values: list[str | bytes] = [
                "reason",
                DeathReason.UNDELIVERABLE,
                "detail",
                DETAIL,
                "raw",
                message,
                *_about(message),
            ]
            # No callbacks, nothing redriven, one dead letter.
            scripts.call("append", SERVER_CLOCK, *NO_BATCH, len(values), *values)
            remove()
            moved += 1
    except Unavailable:
        raise
    except Exception as error:  # noqa: BLE001 - transports raise whatever their client library raises
        raise Unavailable(
            f"The broker stopped answering ({type(error).__name__}) after {moved}; run the command again."
        ) from None
    return moved


def _about(message: bytes) -> Iterator[str]:
    """Yield fields and values by which the letter is found again, as far as the message can be read."""
    source, _, key = stream_of(message).partition(":")
    if key:
        yield from ("source", source, "key", key)
    try:
        yield from ("type", parse_callback(callback_in(message)).event_type)
    except BadCallback:
        return
