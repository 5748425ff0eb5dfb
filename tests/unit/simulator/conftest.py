from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from deedbox.shared.simulator.lifecycle import Account, SimulatedRequest, generate_requests
from deedbox.shared.simulator.story import LifecyclePolicy

API_KEY = "324e3b0840f065eb51f3fd63231d0d33daa35d4ed10d27718839e81737065782"
"""Published by the vendor for tests."""

BEGINS_AT = 1_800_000_000

Make = Callable[..., list[SimulatedRequest]]


@pytest.fixture
def account() -> Account:
    return Account(API_KEY)


@pytest.fixture
def make(account: Account) -> Make:
    """Generate requests: ``make(count, seed, **policy)``."""

    def generate(count: int = 20, seed: int = 1, **policy: float) -> list[SimulatedRequest]:
        return generate_requests(
            count,
            account,
            random.Random(seed),
            LifecyclePolicy(begins_at=BEGINS_AT, **policy),  # type: ignore[arg-type]
        )

    return generate
