"""Makes dead letters of what the broker gave up delivering, so that there is one place to look and one way back."""

from __future__ import annotations

from typing import Final

from deedbox.shared.broker.port import Broker
from deedbox.shared.core.callback import parse_callback
from deedbox.shared.core.errors import BadCallback, Unavailable
from deedbox.shared.core.reasons import DeathReason
from deedbox.shared.redis import script_calls
from deedbox.shared.redis.inbox import about, callback_in
from deedbox.shared.redis.scripting import Scripts

DETAIL: Final = "the broker delivered it again and again, and no bridge acknowledged it"


def collect(broker: Broker, scripts: Scripts) -> int:
    """File each message as a dead letter, then remove it from the broker. Returns how many.

    A crash in between makes two letters of one message: that is seen, a loss is not. Raises Unavailable.
    """
    moved = 0
    try:
        for message, remove in broker.take_dead():
            letter: dict[str, str | bytes] = {
                "reason": DeathReason.UNDELIVERABLE,
                "detail": DETAIL,
                "raw": message,
                **_about(message),
            }
            script_calls.append(scripts, letters=[letter])
            remove()
            moved += 1
    except Unavailable:
        raise
    except Exception as error:  # noqa: BLE001 - transports raise whatever their client library raises
        raise Unavailable(
            f"The broker stopped answering ({type(error).__name__}) after {moved}; run the command again."
        ) from None
    return moved


def _about(message: bytes) -> dict[str, str]:
    """Return fields by which the letter is found again, as far as the message can be read."""
    try:
        return {**about(message), "type": parse_callback(callback_in(message)).event_type}
    except BadCallback:
        return about(message)
