"""Looks for faults that last, in the ops process, and sends the alerts itself.

The lane ``alerts`` and the sweeper need Redis and workers; this needs neither. Several ops processes send one message
while Redis answers; without it each sends its own.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from redis.exceptions import RedisError

from deedbox.ops.alerts.standing import ALERTED, HOLD_S, Name, Notice, Standing, compare
from deedbox.ops.installation import Installation
from deedbox.ops.readmodels import attention, status
from deedbox.ops.readmodels.attention import Attention, AttentionKind
from deedbox.ops.wording import fault_alerts
from deedbox.shared.alerts.targets import AlertTarget, demand_extra, described, receivers, send
from deedbox.shared.core.errors import DeedboxError
from deedbox.shared.redis import keys
from deedbox.shared.runtime import logs
from deedbox.shared.settings import Settings

EVERY_S: Final = 5.0
TURN_S: Final = 120
"""Messages of other ops processes about the same fault within so long are the same message."""

PENDING_MAX: Final = 100
"""Messages that wait for a receiver that is away; further ones push out the oldest."""

_SEEN_WITHOUT_REDIS: Final = frozenset({AttentionKind.REDIS_AWAY, AttentionKind.DISK_FULL})

log = logs.get("alerts")


@dataclass(frozen=True, slots=True)
class FaultLook:
    """What one look found."""

    found: Sequence[Attention]
    unseen: Collection[AttentionKind] = ()
    """Kinds that it could not look at."""


class FaultWatch:
    """Compares look with look; nothing but the pending messages and the standing faults is kept."""

    def __init__(self, found: Sequence[AlertTarget], hold_s: float = HOLD_S) -> None:
        self._receivers, self._hold_s = found, hold_s
        self._standing: Mapping[Name, Standing] = {}
        self._pending: deque[tuple[AlertTarget, str, str, str]] = deque(maxlen=PENDING_MAX)

    def once(self, installation: Installation, now: float) -> None:
        """Look, and send what is due (``now``: seconds of a clock that only goes forward)."""
        seen = look(installation)
        compared = compare(self._standing, seen.found, now, hold_s=self._hold_s, unseen=seen.unseen)
        self._standing = compared.standing
        for notice in compared.notices:
            if claim(installation, notice):
                self._file(notice)
        self._send()

    def _file(self, notice: Notice) -> None:
        log.warning("alert.raised", kind=notice.kind, about=notice.about, recovered=notice.resolved)
        title = fault_alerts.title(notice.kind, notice.about, resolved=notice.resolved)
        body = fault_alerts.body(notice.text, notice.advice, notice.lasted_s, resolved=notice.resolved)
        severity = "success" if notice.resolved else "failure"
        self._pending.extend((each, title, body, severity) for each in self._receivers)

    def _send(self) -> None:
        """Try each pending message once; the messages of a receiver stay in order."""
        away: set[str] = set()
        for _ in range(len(self._pending)):
            receiver, title, body, severity = self._pending.popleft()
            if receiver.identity in away or not send(receiver, title, body, severity):
                away.add(receiver.identity)
                self._pending.append((receiver, title, body, severity))
            else:
                log.info("alert.sent", receiver=described(receiver))


def look(installation: Installation) -> FaultLook:
    """Look at everything that can be looked at."""
    try:
        return FaultLook(status.look(installation).attentions)
    except DeedboxError as error:
        free = status.free_bytes(installation.settings)
        return FaultLook(
            attention.redis_away(installation.explained(error), free), ALERTED - _SEEN_WITHOUT_REDIS
        )


def claim(installation: Installation, notice: Notice) -> bool:
    """Return whether no other ops process has sent this notice in the last two minutes; without Redis always."""
    name = f"{notice.kind}|{notice.about}|{notice.resolved}"
    key = keys.alert_turn(hashlib.blake2b(name.encode(), digest_size=8).hexdigest())
    try:
        return bool(installation.redis.set(key, "1", nx=True, ex=TURN_S))
    except (RedisError, DeedboxError):
        return True


def demand(settings: Settings) -> None:
    """Look whether this process could send what it finds. Raises SettingsError."""
    demand_extra(told(settings))


def told(settings: Settings) -> tuple[AlertTarget, ...]:
    """Return who is told."""
    return receivers(settings) if "alert" in settings.enabled_builtins else ()
