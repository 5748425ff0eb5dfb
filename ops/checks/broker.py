"""Checks of the broker, through kombu as ingress uses it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from deedbox.ops.checks import redis_server, replication
from deedbox.ops.checks.finding import Finding, brief, failed, ok, unusable
from deedbox.ops.installation import Installation
from deedbox.shared.broker import topology
from deedbox.shared.core.errors import DeedboxError
from deedbox.shared.redis import connections
from deedbox.shared.settings import PUBLISH_EVENT


def events(installation: Installation) -> Iterator[Finding]:
    """Open a connection to the events' broker, if it is another one than the callbacks'."""
    settings = installation.settings
    if settings.events_url is None or PUBLISH_EVENT not in settings.enabled_builtins:
        return
    name = "events broker"
    try:
        url = connections.events_url(settings)
        connection: Any = topology.connect(url)
    except DeedboxError as error:
        yield unusable(name, str(error))
        return
    try:
        _ = connection.default_channel
    except Exception as error:  # noqa: BLE001 - transports raise whatever their client library raises
        fix = "check the address in DEEDBOX_EVENTS_URL and that the broker runs"
        yield failed(name, f"it cannot be reached ({brief(error)})", fix)
        return
    finally:
        connection.collect()
    yield ok(name, f"{topology.transport(url)}: reachable")


def check(installation: Installation) -> Iterator[Finding]:
    """Open a connection to the broker, every wait bounded; a Redis of its own is checked like the state's."""
    try:
        url = installation.broker_url
        kind = topology.transport(url)
        redis = installation.broker_redis
        connection: Any = topology.connect(url)
    except DeedboxError as error:
        yield failed("broker", str(error))
        return
    shared = redis is not None and redis is installation.redis
    try:
        _ = connection.default_channel
    except Exception as error:  # noqa: BLE001 - transports raise whatever their client library raises
        setting = "DEEDBOX_REDIS_URL" if shared else "DEEDBOX_BROKER_URL"
        fix = f"check the address in {setting} and that the broker runs"
        yield failed("broker", f"the {kind} broker cannot be reached ({brief(error)})", fix)
        return
    finally:
        connection.collect()
    yield ok("broker", f"{kind}: reachable" + (", the same Redis" if shared else ""))
    if redis is not None and not shared:
        yield from redis_server.check(redis, "broker redis", "DEEDBOX_BROKER_URL")
        wait = installation.settings.redis_wait_replicas
        yield from replication.check(redis, url, "broker redis", "DEEDBOX_BROKER_URL", wait)
