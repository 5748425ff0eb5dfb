"""The alert desk: takes facts from all workers and sweepers, and queues the messages about them.

One key holds what was sent and what is gathered. A process that changes it queues the messages in the same step. So many
processes send one message, and a crash neither loses nor repeats one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from deedbox.shared.alerts.alerting import SEND, AlertFact, Message, Policy, step
from deedbox.shared.alerts.conditions import AlertWatch, Noticed, condition
from deedbox.shared.core.errors import Unavailable
from deedbox.shared.records.alert_board import AlertBoard, board_of
from deedbox.shared.redis import keys
from deedbox.shared.redis.connections import translating
from deedbox.shared.runtime import logs
from deedbox.workers.internal_events import Filed, Filing, FilingGuard

TOPIC: Final = "alerts"
TRIES: Final = 100
"""Changes of other processes that may come between a read and its write, again and again."""

log = logs.get("alerts")


class AlertDesk:
    """Where facts are told. ``receivers``: identities of whom messages go to."""

    def __init__(
        self,
        redis: Any,
        filing: Filing,
        receivers: Sequence[str],
        policy: Policy = Policy(),  # noqa: B008 - frozen
    ) -> None:
        self._redis = redis
        self._filing = filing
        self._receivers = receivers
        self._policy = policy

    def tell(self, *facts: AlertFact) -> None:
        """Report facts. Raises Unavailable."""
        self.change(lambda watch, _now: Noticed(watch, facts))

    def condition(self, kind: str, source: str, target: str, value: str) -> None:
        """Report a condition as it is now; an empty ``value`` means that it has ended. Raises Unavailable."""
        self.change(lambda watch, now: condition(watch, kind, source, target, value, now))

    def read(self) -> tuple[AlertWatch, float]:
        """Return what was so at the last look, and Redis's time. Raises Unavailable."""
        now, text = self._read()
        return board_of(text).watch, now

    def change(self, look: Callable[[AlertWatch, float], Noticed]) -> tuple[Message, ...]:
        """Take in what a look notices, and file what goes out. ``look`` may be called again. Raises Unavailable."""
        for _ in range(TRIES):
            now, text = self._read()
            board = board_of(text)
            noticed = look(board.watch, now)
            decision = step(board.state, noticed.facts, noticed.over, now, self._policy)
            after = AlertBoard(decision.state, noticed.watch).dump()
            if after == text:
                return ()
            if self._filing.file(FilingGuard(keys.ALERTS, text, after), self._filed(decision.messages), now):
                _log(decision.messages)
                return decision.messages
        raise Unavailable("the alerts are changed by others all the time")

    def _read(self) -> tuple[float, bytes]:
        with translating(), self._redis.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.get(keys.ALERTS)
            (seconds, micros), text = pipe.execute()
        return seconds + micros / 1_000_000, text or b""

    def _filed(self, messages: Sequence[Message]) -> list[Filed]:
        return [
            Filed(SEND, message.source or "default", TOPIC, {**message.dump(), "receiver": receiver})
            for message in messages
            for receiver in self._receivers
        ]


def _log(messages: Sequence[Message]) -> None:
    for message in messages:
        log.warning(
            "alert.raised",
            kind=message.kind,
            source=message.source,
            count=message.count,
            recovered=message.recovered,
        )
