"""Three hosts that agree: RabbitMQ nodes with quorum queues, and Redis with two replicas and Sentinel."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from deedbox.shared.redis.scripting import text
from tests.component.workers.server import missing
from tests.hosts.deployment import PASSWORD, Deployment, on, reaches
from tests.hosts.network import Host
from tests.support.rabbitmq import SERVER, RabbitServer
from tests.support.waiting import until

MASTER: Final = "deedbox"
AMQP_PORT: Final = 5672

SENTINEL: Final = """\
port 26379
bind 0.0.0.0
protected-mode no
sentinel monitor {name} {master} 6379 2
sentinel auth-pass {name} {password}
sentinel down-after-milliseconds {name} 2000
sentinel failover-timeout {name} 6000
"""

RABBITMQ: Final = """\
loopback_users.guest = false
cluster_partition_handling = pause_minority
cluster_formation.peer_discovery_backend = classic_config
"""

TICK_S: Final = 8
"""So soon a node takes another one for gone; by default after a minute."""


def redis_with_sentinel(deployment: Deployment, names: tuple[str, str, str]) -> str:
    """Add a master, two replicas, and a sentinel on each host. Returns DEEDBOX_REDIS_URL."""
    if shutil.which("redis-sentinel") is None:
        missing("No redis-sentinel was found; install Debian's package redis-sentinel.")
    master = deployment.redis(names[0])
    follows = (f"replicaof {master.address} 6379", "repl-diskless-sync-delay 0")
    hosts = [master, *(deployment.redis(name, *follows) for name in names[1:])]
    for host in hosts:
        configuration = deployment.folder / host.name / "sentinel.conf"
        configuration.write_text(SENTINEL.format(name=MASTER, master=master.address, password=PASSWORD))
        deployment.keep(host, "sentinel", "redis-sentinel", str(configuration))
    for host in hosts:
        until(_knows_the_others(deployment, host), f"the sentinel on {host.name} knows the others")
    nodes = ",".join(f"{host.address}:26379" for host in hosts)
    return f"redis+sentinel://:{PASSWORD}@{nodes}/{MASTER}/0"


def _knows_the_others(deployment: Deployment, host: Host) -> Callable[[], bool]:
    def asked() -> bool:
        with Redis(host.address, 26379, socket_timeout=1, retry=Retry(NoBackoff(), 0)) as sentinel:
            try:
                found = sentinel.sentinel_master(MASTER)
            except RedisError:
                return False
        return (found["num-other-sentinels"], found["num-slaves"]) == (2, 2)

    return lambda: bool(on(deployment.sender, asked))


def master_of(deployment: Deployment, hosts: Sequence[Host]) -> str | None:
    """Return the address that most sentinels name, while they agree."""
    named = [on(deployment.sender, partial(_named_by, host)) for host in hosts]
    address, count = Counter(named).most_common(1)[0]
    return address if count > len(hosts) // 2 else None


def _named_by(host: Host) -> str | None:
    with Redis(host.address, 26379, socket_timeout=1, retry=Retry(NoBackoff(), 0)) as sentinel:
        try:
            found = sentinel.sentinel_get_master_addr_by_name(MASTER)
        except RedisError:
            return None
    return text(found[0]) if found else None


def rabbitmq_cluster(deployment: Deployment, names: tuple[str, str, str]) -> str:
    """Add a RabbitMQ node on each of three new hosts. Returns DEEDBOX_BROKER_URL."""
    if not RabbitServer.installed():
        missing("No RabbitMQ was found; install Debian's package rabbitmq-server.")
    hosts = [deployment.network.host(name) for name in names]
    nodes = {host: f"rabbit@{host.address}" for host in hosts}
    formation = "".join(
        f"cluster_formation.classic_config.nodes.{number} = {node}\n" for number, node in enumerate(nodes.values(), 1)
    )  # fmt: skip
    for host, node in nodes.items():
        folder = deployment.folder / host.name
        _prepare(folder, RABBITMQ + formation)
        deployment.keep(host, "rabbitmq", str(SERVER), **_environment(folder, node))
    for host in hosts:
        until(
            partial(on, deployment.sender, partial(reaches, host.address, AMQP_PORT)),
            f"RabbitMQ on {host.name} has joined and listens",
        )
    return ";".join(f"amqp://guest:guest@{host.address}:{AMQP_PORT}//" for host in hosts)


def _prepare(folder: Path, configuration: str) -> None:
    folder.mkdir()
    cookie = folder / ".erlang.cookie"
    cookie.write_text("the nodes of one cluster share it")
    cookie.chmod(0o400)
    (folder / "rabbitmq.conf").write_text(configuration)


def _environment(folder: Path, node: str) -> dict[str, str]:
    return {
        "HOME": str(folder),  # the cookie
        "RABBITMQ_USE_LONGNAME": "true",
        "RABBITMQ_NODENAME": node,
        "RABBITMQ_NODE_IP_ADDRESS": "0.0.0.0",
        "RABBITMQ_NODE_PORT": str(AMQP_PORT),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        # One scheduler each, which does not spin: three nodes share the cores with everything else.
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"-kernel net_ticktime {TICK_S} +S 1:1 +sbwt none",
    }
