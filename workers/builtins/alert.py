"""Built-in action ``alert``: reports events that need a person, and sends the messages that were decided on.

It has its own lane, so that a receiver that hangs delays nothing else. The lane has two kinds of entries: an event, whose
fact goes to the alert desk; and a message of the desk for one receiver. A message waits for its own receiver only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from redis.exceptions import RedisError

from deedbox.shared.alerts import alert_text
from deedbox.shared.alerts.alerting import SEND, AlertFact, Message
from deedbox.shared.alerts.targets import AlertTarget, described, send
from deedbox.shared.core.attempts import AttemptPolicy
from deedbox.shared.core.errors import Unavailable
from deedbox.shared.redis import keys
from deedbox.shared.runtime import logs
from deedbox.workers.actions.interface import ActionFunction, Context, Event, Reject, Retry
from deedbox.workers.actions.registry import RegisteredAction
from deedbox.workers.builtins.alert_desk import AlertDesk

NAME: Final = "alert"

TIMEOUT_S: Final = 30.0
"""Most services take a message within a second; Apprise gives up on a silent one after 4 s by default."""

GIVE_UP_S: Final = 86_400.0
"""An alert that is a day old does not help any more."""

MESSAGE_LIFE_S: Final = 2 * 86_400
TITLE_MAX_CHARS: Final = 80

log = logs.get("alert")


class Alert:
    """The action; one per process. ``details``: titles may be shown."""

    def __init__(
        self, desk: AlertDesk, receivers: Callable[[], Mapping[str, AlertTarget]], *, details: bool = False
    ) -> None:
        self._desk = desk
        self._receivers = receivers
        self._details = details

    def __call__(self, event: Event, context: Context) -> None:
        """Tell the desk, or send."""
        if event.type == SEND:
            self._send(event, context)
            return
        try:
            self._desk.tell(fact_of(event, context.idempotency_key, details=self._details))
        except (RedisError, Unavailable) as error:
            raise Retry(f"Redis did not answer ({type(error).__name__})") from error

    def _send(self, event: Event, context: Context) -> None:
        try:
            message, identity = Message.load(event.payload), str(event.payload["receiver"])
        except (KeyError, TypeError, ValueError, AttributeError):
            raise Reject("the message is of another version") from None
        receiver = self._receivers().get(identity)
        if receiver is None:
            log.warning("alert.receiver_gone", kind=message.kind)
            return
        if not send(
            receiver, alert_text.title(message), alert_text.body(message), alert_text.severity(message)
        ):
            raise Retry(f"receiver {described(receiver)} did not take it")
        log.info("alert.sent", kind=message.kind, receiver=described(receiver), retries=context.retries)


def fact_of(event: Event, key: str, *, details: bool) -> AlertFact:
    """Return what an alert may say about an event: its type, its id, whether it is a test; with ``details`` its title."""
    shown = _traceable(event.ordering_key)
    if details and (title := _title(event.payload)):
        shown = f"{shown} ({title})"
    gaps = event.payload.get("gaps")
    label = ", ".join(map(str, gaps))[:100] if isinstance(gaps, list) else ""
    return AlertFact(event.type, event.source, key, shown, label or ("test mode" if event.test_mode else ""))


def _title(payload: Mapping[str, Any]) -> str:
    for part in ("signature_request", "template"):
        holder = payload.get(part)
        if isinstance(holder, dict) and isinstance(holder.get("title"), str):
            return _plain(holder["title"], TITLE_MAX_CHARS)
    return ""


def _traceable(ordering_key: str) -> str:
    """Return the id as ``deedbox trace`` takes it: percent-encoded and bounded, so that no service reads markup in it."""
    return ordering_key.removeprefix("signature_request/")


def _plain(text: str, chars: int) -> str:
    """Cut what came over the network, and take out what services read as markup or as a mention of everybody."""
    return "".join("?" if char in "<>@`*_[]&" or not char.isprintable() else char for char in text[:chars])


def registered(function: ActionFunction, types: tuple[str, ...] = ()) -> RegisteredAction:
    """Return the action for the registry. Unordered: a message that waits must not hold up the next one."""
    return RegisteredAction(
        NAME,
        (SEND, *types),
        function,
        keys.ALERTS_LANE,
        TIMEOUT_S,
        ordered=False,
        policy=AttemptPolicy(give_up_s=GIVE_UP_S),
    )
