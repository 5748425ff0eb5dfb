"""A Redis that fills up is seen by people before it is full."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from redis import Redis

from tests.component.conftest import Operate

pytestmark = pytest.mark.real_redis


@pytest.fixture
def almost_full(state: Redis) -> Iterator[None]:
    state.setrange("junk", 30_000_000, "x")  # a request that is small itself: buffers count as used
    used = int(state.info("memory")["used_memory"])
    state.config_set("maxmemory", int(used / 0.9))
    yield
    state.config_set("maxmemory", 0)


def finding(operate: Operate) -> dict[str, str]:
    checks = operate("check", "--offline", "--json").document["checks"]
    found: dict[str, str] = next(check for check in checks if check["name"] == "redis room")
    return found


@pytest.mark.usefixtures("almost_full")
def test_status_and_check_warn_of_a_redis_that_is_almost_full(operate: Operate) -> None:
    document = operate("status", "--json").document
    assert 0.85 < document["redis_fullness"]["state"] < 0.95
    assert any(
        re.search(r"state is (8[5-9]|9[0-5])% full", warning["text"]) for warning in document["warnings"]
    )
    assert finding(operate)["verdict"] == "warning"


@pytest.mark.usefixtures("almost_full")
def test_a_redis_that_refuses_writes_fails_the_check(operate: Operate, state: Redis) -> None:
    state.config_set("maxmemory", 1_000_000)
    assert finding(operate)["verdict"] == "failed"


def test_a_redis_without_a_limit_is_no_reason_for_a_warning(operate: Operate) -> None:
    assert operate("status", "--json").document["redis_fullness"] == {}
    assert finding(operate)["verdict"] == "ok"
