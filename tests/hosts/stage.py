"""The soak's deployment on several hosts, and the hand that cuts them off."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

import psutil

from deedbox.shared.redis import embedded
from deedbox.shared.settings import Settings
from tests.hosts.deployment import PASSWORD, PROXY_PORT, ROOT, Deployment
from tests.hosts.network import Host
from tests.soak import hanging, moving
from tests.soak.plan import CUT, CUT_OFF_S, Kill, Options, hangs_one_in
from tests.support.rabbitmq import RabbitServer

LANES: Final = ("sequencer", "default", "documents", hanging.NAME)
READY_S: Final = 5.0
"""Until the workers have announced their actions; what comes earlier waits for that."""

_PLENTY: Final = "100000"


class HostStage:
    """Two web hosts behind nginx, two hosts with workers, and one with Redis, which is broker and state."""

    api_port: int

    def __init__(self, deployment: Deployment, options: Options, api_key: str) -> None:
        self.folder = options.folder
        self.record = self.folder / "record.jsonl"
        self.api_host, self.api_port = deployment.sender.address, embedded.free_port()
        self.rabbitmq: RabbitServer | None = None
        self._deployment = deployment
        self._deploys = moving.Deploys(self.folder)
        self._back: list[threading.Thread] = []
        state = deployment.redis("state")
        shared = {
            "DEEDBOX_API_KEYS": api_key,
            "DEEDBOX_API_URL": f"http://{self.api_host}:{self.api_port}/v3",
            "DEEDBOX_PLAIN_HTTP": "on",
            "DEEDBOX_REDIS_URL": f"redis://:{PASSWORD}@{state.address}:6379/0",
            "DEEDBOX_DOCUMENTS_URL": f"file://{self.folder}/data/documents",
        }
        self.settings = Settings.load({**shared, "DEEDBOX_DATA_DIR": str(self.folder / "data")})
        deployment.settings(
            **shared,
            DEEDBOX_ACTIONS=f"deedbox.workers.builtins.recorder,{hanging.__name__},{moving.__name__}",
            DEEDBOX_RECORD_PATH=str(self.record), DEEDBOX_BUILTINS="fetch_documents,track_status",
            DEEDBOX_HOLD_S="3", DEEDBOX_DOWNLOADABLE_GRACE_S="2",
            DEEDBOX_FILES_PER_MINUTE=_PLENTY, DEEDBOX_TEST_FILES_PER_MINUTE=_PLENTY, DEEDBOX_API_PER_MINUTE=_PLENTY,
            PYTHONPATH=str(ROOT),
            **{hanging.ONE_IN_VARIABLE: str(hangs_one_in(options)), moving.FOLDER_VARIABLE: str(self.folder)},
        )  # fmt: skip
        for name in ("work1", "work2"):
            deployment.workers(name, LANES)
        proxy = deployment.proxy([deployment.web("web1"), deployment.web("web2")])
        self.url = f"http://{proxy.address}:{PROXY_PORT}/callbacks"

    def wait_until_ready(self) -> None:
        """Give the workers time to start."""
        time.sleep(READY_S)

    def kill(self, kill: Kill) -> int | None:
        """Cut a host off for some seconds, or move the action; the host is back without a word from us."""
        if kill.signal == CUT:
            [host] = [each for each in self._deployment.network.hosts if each.name == kill.target]
            host.cut_off()
            back = threading.Thread(target=self._reconnect, args=(host,), name=f"{host.name} back")
            back.start()
            self._back.append(back)
        else:
            self._deploys.deploy(self._workers)
        return os.getpid()

    def _reconnect(self, host: Host) -> None:
        time.sleep(CUT_OFF_S)
        host.reconnect()

    def _workers(self, lane: str) -> Iterable[psutil.Process]:
        for name, kept in self._deployment.kept.items():
            if name.endswith(f" {lane}") and kept.pid is not None:
                with suppress(psutil.NoSuchProcess):
                    yield psutil.Process(kept.pid)

    def close(self) -> None:
        """Wait for the hosts that were cut off. The deployment ends the rest."""
        for each in self._back:
            each.join()
