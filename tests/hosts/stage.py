"""The soak's deployment on several hosts, as docs/hosts.md has it, and the hand that takes hosts away and upgrades them."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final

import psutil

from deedbox.shared.redis import embedded
from deedbox.shared.settings import Settings
from tests.hosts.deployment import PROXY_PORT, ROOT, Deployment
from tests.hosts.differences import older_version, wrong_clock
from tests.hosts.faults import MASTER, NODES, STATES, WEBS, WORKERS
from tests.hosts.network import Host
from tests.hosts.quorum import master_of, rabbitmq_cluster, redis_with_sentinel
from tests.soak import hanging, moving
from tests.soak.plan import CUT, CUT_OFF_S, OFF, UPGRADE, Kill, Options, hangs_one_in
from tests.support.waiting import until

LANES: Final = ("sequencer", "default", "documents", hanging.NAME)
WRONG_CLOCK_S: Final = 90
STOPS_WITHIN_S: Final = 20.0
"""As docs/hosts.md says; what runs on is killed."""

_PLENTY: Final = "100000"
SETTINGS: Final = {
    "DEEDBOX_ACTIONS": f"tests.hosts.recording,{hanging.__name__},{moving.__name__}",
    "DEEDBOX_BUILTINS": "fetch_documents,track_status",
    "DEEDBOX_PLAIN_HTTP": "on",
    "DEEDBOX_HOLD_S": "3",
    "DEEDBOX_DOWNLOADABLE_GRACE_S": "2",
    "DEEDBOX_REDIS_WAIT_REPLICAS": "1",
    "DEEDBOX_FILES_PER_MINUTE": _PLENTY,
    "DEEDBOX_TEST_FILES_PER_MINUTE": _PLENTY,
    "DEEDBOX_API_PER_MINUTE": _PLENTY,
}


class HostStage:
    """Two web hosts behind nginx, two hosts with workers, ops, Redis on three hosts, and RabbitMQ on three.

    All begin with an older version. One of the worker hosts has a wrong clock.
    """

    api_port: int

    def __init__(self, deployment: Deployment, options: Options, api_key: str) -> None:
        self.folder = options.folder
        self.record = self.folder / "record.jsonl"
        self.api_host, self.api_port = deployment.sender.address, embedded.free_port()
        self._deployment = deployment
        self._deploys = moving.Deploys(self.folder)
        self._back: list[threading.Thread] = []
        self._upgrades = ThreadPoolExecutor(1)
        """One host at a time, while others vanish."""
        with ThreadPoolExecutor(2) as pool:
            redis = pool.submit(redis_with_sentinel, deployment, STATES)
            broker = pool.submit(rabbitmq_cluster, deployment, NODES)
        self.amqp_url: str | None = broker.result()
        shared = {
            **SETTINGS,
            "DEEDBOX_API_KEYS": api_key,
            "DEEDBOX_API_URL": f"http://{self.api_host}:{self.api_port}/v3",
            "DEEDBOX_REDIS_URL": redis.result(),
            "DEEDBOX_BROKER_URL": broker.result(),
            "DEEDBOX_DOCUMENTS_URL": f"file://{self.folder}/data/documents",
        }
        here = {"DEEDBOX_DATA_DIR": str(self.folder / "data"), "DEEDBOX_ACTIONS": ""}
        self.settings = Settings.load({**shared, **here})
        deployment.settings(
            **shared,
            DEEDBOX_RECORD_PATH=str(self.record),
            **{
                hanging.ONE_IN_VARIABLE: str(hangs_one_in(options)),
                moving.FOLDER_VARIABLE: str(self.folder),
            },
        )
        self._differ()
        with ThreadPoolExecutor() as pool:
            webs = [pool.submit(deployment.web, name) for name in WEBS]
            for name in WORKERS:
                pool.submit(deployment.workers, name, LANES)
            pool.submit(deployment.ops, "ops")
        proxy = deployment.proxy([web.result() for web in webs])
        self.url = f"http://{proxy.address}:{PROXY_PORT}/callbacks"

    def _differ(self) -> None:
        older = older_version(self.folder / "older")
        for name in (*WORKERS, "ops", *WEBS):
            self._deployment.kind(name).code = older
        late = self._deployment.kind(WORKERS[-1])
        late.shim, late.clock_ahead_s = wrong_clock(self.folder), WRONG_CLOCK_S

    def wait_until_ready(self) -> None:
        """Return at once: web and ops listen, and what comes before the workers have announced their actions waits."""

    def kill(self, kill: Kill) -> int | None:
        """Do it; a host that was cut off is back without a word from us."""
        if kill.signal == CUT:
            self._cut_off(self._host(kill.target))
        elif kill.signal == OFF:
            self._host(kill.target).kill()
        elif kill.signal == UPGRADE:
            self._upgrades.submit(self._upgrade, kill.target)
        else:
            self._deploys.deploy(self._workers)
        return os.getpid()

    def _host(self, name: str) -> Host:
        there = {host.name: host for host in self._deployment.network.hosts}
        if name == MASTER:
            states = [there[each] for each in STATES]
            address = until(lambda: master_of(self._deployment, states), "the sentinels name a master")
            return next(each for each in states if each.address == address)
        return there[name]

    def _cut_off(self, host: Host) -> None:
        host.cut_off()
        back = threading.Thread(target=self._reconnect, args=(host,), name=f"{host.name} back")
        back.start()
        self._back.append(back)

    def _reconnect(self, host: Host) -> None:
        time.sleep(CUT_OFF_S)
        host.reconnect()

    def _upgrade(self, name: str) -> None:
        """Restart the processes of a host, as `systemctl restart` does, with the present version."""
        self._deployment.kind(name).code = ROOT
        before = {kept: kept.pid for kept in self._deployment.of(name)}
        for kept in before:
            kept.terminate()
        deadline = time.monotonic() + STOPS_WITHIN_S
        while left := [pid for kept, pid in before.items() if kept.pid == pid and pid is not None]:
            if time.monotonic() > deadline:
                for pid in left:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            time.sleep(0.1)

    def _workers(self, lane: str) -> Iterable[psutil.Process]:
        for name, kept in self._deployment.kept.items():
            if name.endswith(f" {lane}") and kept.pid is not None:
                with suppress(psutil.NoSuchProcess):
                    yield psutil.Process(kept.pid)

    def close(self) -> None:
        """Wait for the hosts that were cut off, and the upgrades. The deployment ends the rest."""
        self._upgrades.shutdown()
        for each in self._back:
            each.join()
