"""Checks of the broker, through its own port as ingress and bridge use it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Final, cast

from redis.exceptions import RedisError

from deedbox.ops.checks import redis_server, replication
from deedbox.ops.checks.finding import Finding, failed, ok, unusable, warning
from deedbox.ops.installation import Installation
from deedbox.ops.readmodels.broker import living_bridges
from deedbox.shared.broker import brokers
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.errors import DeedboxError, Unavailable
from deedbox.shared.core.signature import BodySignature
from deedbox.shared.redis import keys
from deedbox.shared.redis.inbox import PROBE
from deedbox.shared.redis.scripting import text
from deedbox.shared.settings import PUBLISH_EVENT

CLAIMED_WITHIN_S: Final = 5.0
"""A bridge takes what comes at once; longer only behind a backlog."""


def events(installation: Installation) -> Iterator[Finding]:
    """Reach the events' broker, if it is another one than the callbacks'."""
    settings = installation.settings
    if settings.events_url is None or PUBLISH_EVENT not in settings.enabled_builtins:
        return
    name = "events broker"
    try:
        broker = brokers.open_broker(brokers.events_address(settings))
        broker.topics()
        broker.demand()
    except DeedboxError as error:
        yield unusable(name, str(error))
        return
    try:
        broker.ping()
    except Unavailable as error:
        yield failed(name, str(error), "check the address in DEEDBOX_EVENTS_URL and that the broker runs")
        return
    yield ok(name, f"{broker.name}: reachable")


def check(installation: Installation) -> Iterator[Finding]:
    """Reach the broker, every wait bounded; a separate Redis is checked like the state's."""
    try:
        broker, other = installation.broker, installation.other_redis
    except DeedboxError as error:
        yield unusable("broker", str(error))
        return
    shared = installation.broker_address == installation.redis_address
    try:
        broker.demand()
        broker.ping()
    except DeedboxError as error:
        setting = "DEEDBOX_REDIS_URL" if shared else "DEEDBOX_BROKER_URL"
        fix = f"check the address, user and password in {setting}, and that the broker runs"
        yield failed("broker", f"the {broker.name} broker: {error}", fix)
        return
    yield ok("broker", f"{broker.name}: reachable" + (", the same Redis" if shared else ""))
    if other is not None:
        yield from redis_server.check(other.client, "broker redis", "DEEDBOX_BROKER_URL")
        wait = installation.settings.redis_wait_replicas
        yield from replication.check(other.client, other.address, "broker redis", wait)


def before(installation: Installation) -> Iterator[Finding]:
    """Warn of brokers that bridges consumed and that the settings do not name any more."""
    try:
        known = cast("dict[bytes, bytes]", installation.redis.hgetall(keys.BRIDGE_BROKERS))
        present = str(installation.broker_address)
    except (DeedboxError, RedisError):
        return  # said above
    for where in sorted(text(each) for each in known):
        if where != present:
            detail = f"a bridge was started for {where} in the last month; what that broker still holds is taken by no bridge"
            yield warning(
                "broker before",
                detail,
                "run a bridge with the DEEDBOX_BROKER_URL of before until it is empty",
            )


def passage(installation: Installation) -> Iterator[Finding]:
    """Publish a marked message as ingress does, and see a bridge take it: the two may know different brokers."""
    name = "broker passage"
    try:
        if not living_bridges(installation.redis):
            yield warning(name, "no bridge runs, so no test message was sent", "start `deedbox bridge`")
            return
        trace_id = uuid.uuid4().hex
        installation.broker.publish(Envelope("default", time.time(), BodySignature.ABSENT, trace_id, PROBE))
        began = time.monotonic()
        while time.monotonic() - began < CLAIMED_WITHIN_S:
            if installation.redis.exists(keys.probe(trace_id)):
                yield ok(name, f"a test message was taken by a bridge after {time.monotonic() - began:.1f} s")
                return
            time.sleep(0.05)
    except (DeedboxError, RedisError) as error:
        yield failed(name, f"a test message was not sent ({error})", "look at the broker's line above")
        return
    yield failed(
        name,
        f"a test message was published, and no bridge took it within {CLAIMED_WITHIN_S:g} s",
        "give web processes and bridges the same DEEDBOX_BROKER_URL and DEEDBOX_REDIS_URL, or wait for the backlog to end",
    )
