"""Trains the compression dictionary of callback bodies: ``python -m tests.bench.dictionary FILE``.

Only from the simulator's traffic: no byte of anybody's callback is in it. A trained dictionary is never replaced, a
new one gets the next number (``deedbox.shared.codec``).
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import zstandard

from deedbox.shared.simulator.lifecycle import Account, generate_requests
from deedbox.shared.simulator.story import LifecyclePolicy

SIZE_BYTES = 16 * 1024
REQUESTS = 600


def train(seed: int = 2026) -> bytes:
    """Return a dictionary."""
    rng = random.Random(seed)
    samples: list[bytes | bytearray | memoryview[int]] = []
    for _ in range(REQUESTS):
        policy = LifecyclePolicy(
            begins_at=rng.randrange(1_500_000_000, 2_000_000_000), spread_s=3600, life_s=1800
        )
        (request,) = generate_requests(1, Account(f"{rng.getrandbits(256):064x}"), rng, policy)
        samples += [callback.json_text for callback in request.callbacks]
    return zstandard.train_dictionary(SIZE_BYTES, samples).as_bytes()


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(train())
