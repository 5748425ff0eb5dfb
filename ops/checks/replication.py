"""Checks of what a failover of Redis may lose: replicas, the wait for them, the sentinels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from redis import Redis
from redis.exceptions import RedisError

from deedbox.ops.checks.finding import Finding, failed, ok, warning
from deedbox.shared.redis import sentinel
from deedbox.shared.redis.address import RedisAddress

WAIT: Final = "DEEDBOX_REDIS_WAIT_REPLICAS"


@dataclass(frozen=True, slots=True)
class ReplicaStanding:
    """What matters of INFO replication and the settings."""

    is_master: bool
    replicas: int
    """Those that are online."""
    min_replicas: int | None
    """``min-replicas-to-write``; None: the server does not show it."""
    wait: int
    """DEEDBOX_REDIS_WAIT_REPLICAS."""
    behind_sentinel: bool


def check(redis: Redis, where: RedisAddress, name: str, wait: int) -> Iterator[Finding]:
    """Look at one server that was found usable before, and at its sentinels."""
    try:
        info: Mapping[str, Any] = redis.info("replication")
    except RedisError as error:
        yield warning(f"{name} replication", f"Redis does not show its replicas ({type(error).__name__})")
        return
    standing = ReplicaStanding(
        is_master=info.get("role") == "master",
        replicas=_online(info),
        min_replicas=_min_replicas(redis),
        wait=wait,
        behind_sentinel=bool(where.master),
    )
    yield judge(standing, f"{name} replication", where.setting)
    if standing.behind_sentinel:
        yield _sentinels(where, f"{name} sentinels")


def judge(standing: ReplicaStanding, name: str, setting: str) -> Finding:
    """Say what a failover may lose."""
    replicas = "1 replica" if standing.replicas == 1 else f"{standing.replicas} replicas"
    if not standing.is_master:
        fix = f"put the master's address into {setting}, or redis+sentinel://host:26379/<master>/0"
        return failed(name, "this server is a replica and refuses writes", fix)
    if standing.wait > standing.replicas:
        detail = f"{WAIT} is {standing.wait}, but {replicas} online: callbacks go to the spool and stay there"
        return failed(name, detail, f"bring replicas back, or lower {WAIT}")
    if standing.wait:
        return ok(name, f"{replicas} online, {standing.wait} must confirm{_majority(standing)}")
    if standing.replicas or standing.behind_sentinel:
        detail = f"{replicas}, but {WAIT} is 0: a failover loses what was acknowledged and not yet replicated"
        fix = f"set {WAIT}=1"
        if standing.min_replicas == 0:
            fix += "; min-replicas-to-write 1 in redis.conf ends the writes of a master that its replicas have left"
        return warning(name, detail, fix)
    return ok(name, "no replicas")


def _majority(standing: ReplicaStanding) -> str:
    """Say which failover still loses: one that elects a replica which did not confirm."""
    if standing.wait >= standing.replicas:
        return ""
    return f"; a partition can elect one of the other {standing.replicas - standing.wait}"


def _online(info: Mapping[str, Any]) -> int:
    rows = [info.get(f"slave{number}") for number in range(int(info.get("connected_slaves", 0)))]
    return sum(isinstance(row, dict) and row.get("state") == "online" for row in rows)


def _min_replicas(redis: Redis) -> int | None:
    try:
        return int(redis.config_get("min-replicas-to-write")["min-replicas-to-write"] or 0)
    except (RedisError, KeyError, ValueError):  # managed services forbid CONFIG
        return None


def _sentinels(where: RedisAddress, name: str) -> Finding:
    answering, known = sentinel.answering(where)
    found = f"{answering} of {known} know the master"
    if answering < known:
        return warning(name, found, f"start the others, or correct {where.setting}")
    if known < 3:  # noqa: PLR2004 - a majority of two is both
        return warning(
            name, f"{found}, and no majority is left when one is down", f"list three in {where.setting}"
        )
    return ok(name, found)
