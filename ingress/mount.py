"""The receiver for applications of other people: built once from settings, whatever framework asks it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Self

from deedbox.ingress.monitor.counters import Intake
from deedbox.ingress.publish.background import Link
from deedbox.ingress.publish.handover import Handover
from deedbox.ingress.receive.ladder import LadderPolicy
from deedbox.ingress.receive.receiver import HttpAnswer, Read, Receiver
from deedbox.shared import sealing
from deedbox.shared.broker.brokers import broker_address, open_broker
from deedbox.shared.runtime import telemetry
from deedbox.shared.settings import Settings
from deedbox.shared.sources import Source

DRAINING: Final = 16
"""Connections for the drain of the spool, beside those of the requests."""


def policy_of(settings: Settings, sources: Mapping[str, Source]) -> LadderPolicy:
    """Return the ladder's policy for these settings and tenants."""
    return LadderPolicy(
        key_rings={name: source.api_keys for name, source in sources.items()},
        body_max_bytes=settings.body_max_bytes,
        body_signature=settings.body_signature,
    )


@dataclass(frozen=True, slots=True)
class Mounted:
    """A receiver, and what makes durable what it accepts."""

    receiver: Receiver
    handover: Handover

    @classmethod
    def build(
        cls,
        settings: Settings,
        publisher: Link,
        intake: Intake,
        policy: LadderPolicy,
        clock: Callable[[], float],
    ) -> Self:
        """Build both. Opens no connection. Raises SettingsError if OpenTelemetry is wanted and not installed."""
        telemetry.configure(settings, "web")
        sealing.configure(settings)
        handover = Handover(settings, publisher, intake=intake)
        return cls(Receiver(policy, handover, intake, clock), handover)

    @classmethod
    def of(cls, settings: Settings | None, publisher: Link | None) -> Self:
        """Build both from the environment, where nothing else is given. Raises SettingsError."""
        given = settings or Settings.load(os.environ)
        sources, clock = given.sources(), time.time
        intake, policy = Intake(sources, clock), policy_of(given, sources)
        return cls.build(given, publisher or broker_of(given), intake, policy, clock)

    def answer(self, source: str, method: str, header: Callable[[str], str | None], read: Read) -> HttpAnswer:
        """Receive one request and return the answer, within about 2 s of the end of its body. Never raises.

        ``header``: returns a header of the request by its name in lower case.
        """
        return self.receiver.receive(
            source, method, header("content-type"), header("content-sha256"), header("traceparent"),
            header("user-agent"), read,
        ).answer()  # fmt: skip


def broker_of(settings: Settings) -> Link:
    """Return the broker that callbacks go to; connects to nothing yet. Raises SettingsError."""
    # Draining the spool publishes beside the requests.
    limit = settings.web_threads + DRAINING
    return open_broker(broker_address(settings), limit, settings.redis_wait_replicas)


def source_of(path: str) -> str | None:
    """Return the source that a path below the place of the mount names; None: nothing is served there.

    Both forms work: an application mounted at ``/callbacks``, and one mounted above it.
    """
    parts = path.strip("/").split("/") if path.strip("/") else []
    if parts[:1] == ["callbacks"]:
        del parts[0]
    if len(parts) > 1:
        return None
    return parts[0] if parts else "default"
