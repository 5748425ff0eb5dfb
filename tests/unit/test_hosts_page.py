"""The page about several hosts says what the laboratory of several hosts runs."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.hosts import faults, quorum, stage

PAGE: Final = (Path(__file__).parents[2] / "docs" / "hosts.md").read_text("utf-8")
ONLY_IN_THE_LABORATORY: Final = ("bind ", "protected-mode ", "loopback_users")


def test_redis_and_rabbitmq_are_configured_as_in_the_laboratory() -> None:
    configured = (
        quorum.SENTINEL.format(name=quorum.MASTER, master="10.0.0.31", password="PASSWORD") + quorum.RABBITMQ
    )
    lines = [line for line in configured.splitlines() if not line.startswith(ONLY_IN_THE_LABORATORY)]
    assert len(lines) == 7
    assert [line for line in lines if line not in PAGE.splitlines()] == []
    assert f"net_ticktime {quorum.TICK_S}" in PAGE
    assert f"DEEDBOX_REDIS_WAIT_REPLICAS={stage.SETTINGS['DEEDBOX_REDIS_WAIT_REPLICAS']}\n" in PAGE


def test_hosts_have_the_names_of_the_laboratory_and_are_upgraded_in_its_order() -> None:
    for names in (faults.STATES, faults.NODES, faults.WEBS, faults.WORKERS):
        assert f"| {', '.join(names)} |" in PAGE
    assert f"in this order: {', '.join(faults.ORDER)}." in PAGE
