"""A real Prometheus scrapes the running stack; the dashboard's queries and the alerts' expressions find what they name."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from deedbox.shared.redis.embedded import free_port
from tests.component.workers.server import missing
from tests.e2e.running import COMMAND, Running, environment, until
from tests.support.dashboard import PROMETHEUS, alerts, queries

pytestmark = [pytest.mark.e2e, pytest.mark.real_redis]

KEY = "324e3b0840f065eb51f3fd63231d0d33daa35d4ed10d27718839e81737065782"
"""Published by the vendor for tests."""

QUIET = {"Refused, by reason", "Dead letters filed"}
"""What needs a fault that is over by then, or that this test does not make."""


class Prometheus:
    """One server with the rules of ``deploy/``, on a port and in a folder of its own."""

    def __init__(self, binary: str, folder: Path, ops: str, ingress: str) -> None:
        port = free_port()
        config = (PROMETHEUS / "prometheus.yml").read_text("utf-8")
        for was, now in (("127.0.0.1:8001", ops), ("127.0.0.1:9101", ingress), ("15s", "1s")):
            assert was in config
            config = config.replace(was, now)
        (folder / "prometheus.yml").write_text(config, encoding="utf-8")
        shutil.copy(PROMETHEUS / "rules.yaml", folder)
        self._url = f"http://127.0.0.1:{port}/api/v1/"
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *(
                        binary,
                        f"--config.file={folder / 'prometheus.yml'}",
                        f"--storage.tsdb.path={folder / 'data'}",
                    ),
                    *(f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"),
                ],
                stdout=log,
                stderr=log,
            )

    def ask(self, path: str, **fields: str) -> Any:
        """Ask its API; returns the data. An answer that is an error fails the test."""
        answer = urllib3.request("GET", self._url + path, fields=fields, retries=False, timeout=10).json()
        assert answer["status"] == "success", (fields, answer)
        return answer["data"]

    def query(self, expression: str) -> list[Any]:
        found: list[Any] = self.ask("query", query=expression)["result"]
        return found

    def is_up(self) -> bool:
        """Tell whether it has scraped both targets."""
        assert self._process.poll() is None
        try:
            return len(self.query("up == 1")) == 2
        except (urllib3.exceptions.HTTPError, ValueError):  # refused, or "Service Unavailable" at its start
            return False

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Run the stack, scraped, while the simulator plays."""
    binary = shutil.which("prometheus")
    if binary is None:
        missing("No Prometheus was found; install Debian's package prometheus.")
    folder, api_port = tmp_path_factory.mktemp("up"), free_port()
    up = Running(
        folder, "up", DEEDBOX_API_KEYS=KEY, DEEDBOX_HOLD_S="1", DEEDBOX_DOWNLOADABLE_GRACE_S="1",
        DEEDBOX_METRICS_PORT="0", DEEDBOX_API_URL=f"http://127.0.0.1:{api_port}/v3",
        DEEDBOX_ACTIONS="deedbox.workers.builtins.recorder", DEEDBOX_RECORD_PATH=str(folder / "calls"),
        DEEDBOX_TEST_FILES_PER_MINUTE="600", DEEDBOX_FILES_PER_MINUTE="600", DEEDBOX_API_PER_MINUTE="1200",
    )  # fmt: skip
    server = None
    try:
        up.says("Deedbox is ready.")
        ops, ingress = re.findall(r"http://(127\.0\.0\.1:\d+)/metrics", up.out)
        server = Prometheus(binary, tmp_path_factory.mktemp("prometheus"), ops, ingress)
        until(server.is_up, "both targets are scraped")
        _simulate(re.findall(r"callbacks +(http://\S+)", up.out)[0], api_port)
        until(lambda: server.query("deedbox_documents_stored_total > 0"), "a document is counted")
        until(lambda: server.query("rate(deedbox_documents_stored_total[10s]) > 0"), "and seen to grow")
        yield server
    finally:
        if server is not None:
            server.close()
        up.process.terminate()
        up.wait()
        up.close()


def _simulate(url: str, api_port: int) -> None:
    played = subprocess.run(
        [
            *(COMMAND, "simulate", "--url", url, "--api-port", str(api_port), "--stay", "6"),
            *("--requests", "8", "--rate", "20", "--seed", "3", "--delay", "0.3"),
        ],
        env=environment(DEEDBOX_API_KEYS=KEY), capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert played.returncode == 0, played.stdout + played.stderr


def test_every_panel_of_the_dashboard_has_a_valid_query_and_the_main_ones_have_data(
    prometheus: Prometheus,
) -> None:
    # Every query is asked, also behind one that has data: a wrong one fails in `query`.
    found = {title: [prometheus.query(each) for each in asked] for title, asked in queries().items()}
    empty = {title for title, answers in found.items() if not any(answers)}
    assert empty <= QUIET


def test_every_alert_is_evaluated_and_none_fires_that_has_no_reason(prometheus: Prometheus) -> None:
    def rules() -> list[dict[str, Any]]:
        groups = prometheus.ask("rules")["groups"]
        return [rule for group in groups for rule in group["rules"]]

    until(lambda: {rule["health"] for rule in rules()} == {"ok"}, "all rules were evaluated")
    assert sorted(rule["name"] for rule in rules()) == sorted(alerts())
    # The simulator forges signatures, and stops: nothing else is wrong here.
    firing = {rule["name"] for rule in rules() if rule["state"] == "firing"}
    assert firing <= {"DeedboxSignatureFailures", "DeedboxCallbackUrlInDanger"}


def test_both_views_of_ingress_agree(prometheus: Prometheus) -> None:
    def count(expression: str) -> str:
        return str(prometheus.query(expression)[0]["value"][1])

    def agree() -> bool:
        return count('sum(deedbox_ingress_requests_total{outcome!="refused"})') == count(
            "sum(deedbox_intake_acknowledged_total)"
        )

    until(agree, "Redis and the hosts count the same")
    assert int(count("sum(deedbox_intake_acknowledged_total)")) > 20
