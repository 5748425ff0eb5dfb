"""What ``deedbox check`` says of replicas."""

from __future__ import annotations

import pytest

from deedbox.ops.checks.finding import Verdict
from deedbox.ops.checks.replication import ReplicaStanding, judge


def _judge(
    wait: int, replicas: int, *, behind_sentinel: bool = False, min_replicas: int | None = 0
) -> tuple[Verdict, str]:
    standing = ReplicaStanding(True, replicas, min_replicas, wait, behind_sentinel)
    finding = judge(standing, "redis replication", "DEEDBOX_REDIS_URL")
    return finding.verdict, f"{finding.detail} {finding.fix}"


def test_a_redis_without_replicas_needs_no_wait() -> None:
    assert _judge(0, 0)[0] is Verdict.OK


@pytest.mark.parametrize(("replicas", "behind_sentinel"), [(1, False), (1, True), (0, True)])
def test_replicas_that_nobody_waits_for_are_a_warning_with_the_setting(
    replicas: int, *, behind_sentinel: bool
) -> None:
    verdict, text = _judge(0, replicas, behind_sentinel=behind_sentinel)

    assert verdict is Verdict.WARNING
    assert "set DEEDBOX_REDIS_WAIT_REPLICAS=1" in text
    assert "min-replicas-to-write 1" in text
    assert "min-replicas" not in _judge(0, 1, min_replicas=1)[1]
    assert "min-replicas" not in _judge(0, 1, min_replicas=None)[1]


def test_fewer_replicas_than_are_waited_for_is_a_failure() -> None:
    verdict, text = _judge(2, 1)

    assert verdict is Verdict.FAILED
    assert "1 replica online" in text


def test_enough_replicas_pass_and_what_a_partition_can_elect_is_said() -> None:
    assert _judge(1, 1) == (Verdict.OK, "1 replica online, 1 must confirm ")
    assert "partition" in _judge(1, 2)[1]


def test_a_replica_is_no_address_for_deedbox() -> None:
    finding = judge(ReplicaStanding(False, 0, 0, 0, False), "redis replication", "DEEDBOX_BROKER_URL")

    assert finding.verdict is Verdict.FAILED
    assert "DEEDBOX_BROKER_URL" in finding.fix
