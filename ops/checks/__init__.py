"""What ``deedbox check`` looks at, in the order in which a callback meets it. Looking changes nothing but a test message."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from deedbox.ops.checks import (
    account,
    actions,
    broker,
    clocks,
    document_stores,
    environment,
    key_ring,
    redis_server,
    replication,
    traffic,
    web,
)
from deedbox.ops.checks.finding import Finding, Verdict, failed, unusable
from deedbox.ops.installation import Installation
from deedbox.shared.core.errors import DeedboxError

__all__ = ["exit_code", "run"]


def run(environ: Mapping[str, str], *, offline: bool = False) -> Iterator[Finding]:
    """Make the checks one after the other; ``offline`` leaves the Dropbox Sign API out."""
    yield from environment.variables(environ)
    settings, findings = environment.settings(environ)
    yield from findings
    if settings is None:
        return
    yield from environment.api_keys(settings)
    yield from actions.check(environ, settings)
    installation = Installation(settings)
    yield from web.check(settings)
    yield from _redis(installation)
    yield from environment.document_store(settings)
    yield from document_stores.check(installation)
    yield from environment.alerts(settings)
    if not offline:
        yield from account.check(settings)


def _redis(installation: Installation) -> Iterator[Finding]:
    try:
        redis = installation.redis
    except DeedboxError as error:
        # A wrong address is the settings' fault; that nothing runs here is not.
        wrong = installation.settings.redis_url is not None
        yield unusable("redis", str(error)) if wrong else failed("redis", str(error))
        return
    reachable = False
    for finding in redis_server.check(redis, "redis", "DEEDBOX_REDIS_URL"):
        reachable = reachable or finding.verdict is not Verdict.FAILED
        yield finding
    if reachable:
        yield from redis_server.check_schema(redis)
        yield from clocks.check(redis)
        yield from key_ring.check(installation)
        wait = installation.settings.redis_wait_replicas
        yield from replication.check(redis, installation.redis_address, "redis", wait)
    yield from broker.check(installation)
    if reachable:
        yield from broker.passage(installation)
        yield from broker.before(installation)
    yield from broker.events(installation)
    if reachable:
        yield from traffic.check(installation)


def exit_code(findings: Iterable[Finding]) -> int:
    """Return 2 if the settings are not usable, 1 if anything else failed, else 0."""
    bad = [finding for finding in findings if finding.verdict is Verdict.FAILED]
    if any(finding.of_settings for finding in bad):
        return 2
    return 1 if bad else 0
