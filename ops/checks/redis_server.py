"""Checks of a Redis server that acknowledged callbacks rely on."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from redis import Redis
from redis.exceptions import AuthenticationError, RedisError, ResponseError

from deedbox.ops.checks.finding import Finding, brief, failed, ok, warning
from deedbox.shared.broker.fullness import FULL_FROM, fullness
from deedbox.shared.broker.topics import EXCHANGE
from deedbox.shared.redis import schema_mark
from deedbox.shared.redis.embedded import MINIMUM
from deedbox.shared.redis.keys import PREFIX, RAW_QUEUE
from deedbox.shared.redis.scripting import text

OURS: Final = (PREFIX, RAW_QUEUE, "rq:", "_kombu.", "unacked")
"""How the names of keys begin that Deedbox, RQ and kombu write."""

_SEPARATOR: Final = "\x06\x16"
"""kombu's, between the parts of a binding: routing key, pattern, queue."""

SECURE_FROM: Final = (7, 0)
"""The line 6.2 is from 2021. A distribution's 7.0 gets the distribution's fixes."""

SAMPLE: Final = 2000
"""Keys drawn at random: enough to show whether a cache or another application lives here."""


def check(redis: Redis, name: str, setting: str) -> Iterator[Finding]:
    """Check one server. If it cannot be used, the first finding says so and is the only one."""
    try:
        info: dict[str, Any] = {}
        for section in ("server", "persistence", "memory", "cluster"):
            info |= redis.info(section)
        config = _config(redis)
        neighbours = _neighbours(redis)
    except AuthenticationError:
        yield failed(
            name, "Redis does not accept the user or password", f"correct user and password in {setting}"
        )
        return
    except RedisError as error:
        fix = f"check the address in {setting} and that Redis runs"
        yield failed(name, f"Redis does not answer ({brief(error)})", fix)
        return
    if int(info.get("cluster_enabled", 0)):
        fix = f"name a Redis with cluster-enabled no in {setting}, several of them behind Sentinel"
        yield failed(name, "Redis is in cluster mode, which Deedbox cannot use", fix)
        return
    yield from _version(name, info)
    yield from _durability(name, info, config)
    yield from _eviction(name, info, config)
    yield _room(f"{name} room", info)
    if neighbours:
        found = ", ".join(f"{prefix}… ({count})" for prefix, count in neighbours.most_common(3))
        fix = f"give Deedbox a separate database or server ({setting}): a FLUSHDB there would lose callbacks"
        yield warning(f"{name} neighbours", f"another application's keys are in this database: {found}", fix)
    else:
        yield ok(f"{name} neighbours", "no other application's keys seen in this database")


def check_schema(redis: Redis) -> Iterator[Finding]:
    """Check that this version can read what is stored in the state's Redis."""
    try:
        found = schema_mark.trouble(redis)
    except RedisError as error:
        yield warning(
            "redis data",
            f"the schema version cannot be read ({brief(error)})",
            "look at the key deedbox:schema",
        )
        return
    if found is None:
        yield ok("redis data", "this version can read what is stored")
    else:
        yield failed("redis data", found, "let that version finish it, or use an empty Redis database")


def _config(redis: Redis) -> Mapping[str, str] | None:
    """Read the configuration; None where a managed service forbids it."""
    try:
        found = [*redis.config_get("append*").items(), *redis.config_get("maxmemory*").items()]
        return {str(name): str(value) for name, value in found}
    except ResponseError:  # one that our user may not call, or that a managed service does not know
        return None


def _version(name: str, info: Mapping[str, Any]) -> Iterator[Finding]:
    version = str(info.get("redis_version", "0"))
    label = f"{info.get('server_name', 'redis')} {info.get('valkey_version', version)}"
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if numbers < MINIMUM:
        needed = ".".join(map(str, MINIMUM))
        yield failed(name, f"{label} is too old", f"use Redis {needed} or later, or Valkey")
        return
    yield ok(name, f"{label} answers")
    if numbers < SECURE_FROM and "valkey_version" not in info:
        fix = (
            "install Redis 7 or later, or Valkey; or remove this server from PATH, and `deedbox up` starts the Valkey that "
            "Deedbox brings"
        )
        yield warning(
            f"{name} release",
            f"{label} is of a line from 2021, without the security fixes of later ones",
            fix,
        )


def _durability(name: str, info: Mapping[str, Any], config: Mapping[str, str] | None) -> Iterator[Finding]:
    name += " durability"
    if not int(info.get("aof_enabled", 0)):
        fix = "set appendonly yes and appendfsync always"
        yield failed(name, "appendonly is no: a crash loses callbacks that were acknowledged", fix)
        return
    fsync = None if config is None else config.get("appendfsync")
    if fsync == "always":
        yield ok(name, "appendonly yes, appendfsync always")
    elif fsync == "everysec":
        yield warning(
            name,
            "appendfsync everysec: a power cut or kernel crash can lose the last 1 to 2 seconds of acknowledged "
            "callbacks (killing the process loses none)",
            "set appendfsync always",
        )
    elif fsync is None:
        fix = "look in the service's console whether every write is on disk or on a replica before the answer"
        yield warning(name, "appendonly yes, but this server does not show appendfsync (CONFIG is off)", fix)
    else:
        detail = f"appendfsync {fsync}: a power cut can lose half a minute of acknowledged callbacks"
        yield failed(name, detail, "set appendfsync always")


def _eviction(name: str, info: Mapping[str, Any], config: Mapping[str, str] | None) -> Iterator[Finding]:
    name += " eviction"
    # INFO shows the policy even where CONFIG is off.
    policy = (config or {}).get("maxmemory-policy") or info.get("maxmemory_policy")
    if policy is None:
        fix = "look in the service's console: it must be noeviction"
        yield warning(name, "this server does not show its maxmemory-policy", fix)
    elif policy == "noeviction":
        yield ok(name, "maxmemory-policy noeviction")
    else:
        detail = f"maxmemory-policy {policy} drops keys when memory is full: callbacks would be lost"
        yield failed(name, detail, "set maxmemory-policy noeviction")


def _room(name: str, info: Mapping[str, Any]) -> Finding:
    used_mib = int(info.get("used_memory", 0)) / (1 << 20)
    share = fullness(info)
    if share is None:
        return ok(
            name, f"{used_mib:.0f} MiB in use; maxmemory is 0, so only the machine's memory is the limit"
        )
    said = f"{share:.0%} of maxmemory in use ({used_mib:.0f} MiB)"
    if share < FULL_FROM:
        return ok(name, said)
    fix = "raise maxmemory; `deedbox runbook redis-is-full` says what else helps"
    if share < 1:
        return warning(name, f"{said}: as broker, ingress spools from {FULL_FROM:.0%} on", fix)
    return failed(name, f"{said}: it refuses writes, and nothing is processed", fix)


def _neighbours(redis: Redis) -> Counter[str]:
    """Count foreign keys in a sample, by the beginning of their names: the whole name may tell of people."""
    found: Counter[str] = Counter()
    ours = (*OURS, *_subscribed(redis))
    pipe = redis.pipeline(transaction=False)
    for _ in range(SAMPLE):
        pipe.randomkey()
    names = {text(name) for name in pipe.execute() if name is not None}
    found.update(_beginning(name) for name in names if not name.startswith(ours))
    return found


def _subscribed(redis: Redis) -> Iterator[str]:
    """Return the queues of those who read Deedbox's topics: kombu binds each by pattern, and fills it here."""
    bound: Any = redis.smembers("_kombu.binding." + EXCHANGE)
    for each in bound:
        yield text(each).rpartition(_SEPARATOR)[2]


def _beginning(name: str) -> str:
    match = re.match(r"[A-Za-z_-]{1,20}", name)
    return match.group() if match else "?"
