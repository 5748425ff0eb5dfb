"""Trains the compression dictionaries (``shared/dictionaries``), only from the simulator's traffic: no byte of anybody's callback.

* ``python -m tests.bench.dictionary callbacks FILE``: of bodies. The same bytes with each run of one version.
* ``python -m tests.bench.dictionary records FILE``: of archives and entries of the clean stream, without their ids. Stages and a
  Redis work off requests for some minutes; arrival times are the clock's, so that the bytes differ a little with each run.

Once a version with it was released, a dictionary is never replaced. A new one gets the next number in its file name, and its
name in ``deedbox.shared.codec``. Measure first with requests that it was not trained on: ``python -m tests.bench.kept`` has others.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import zstandard
from rich.console import Console

from deedbox.shared import codec
from deedbox.shared.archives.stream_archive import LIMIT_BYTES
from deedbox.shared.redis import keys
from deedbox.shared.simulator.lifecycle import Account, generate_requests
from deedbox.shared.simulator.story import LifecyclePolicy
from tests.bench import kept
from tests.bench.redis_server import Server

SEED: Final = 2026
BODIES_BYTES: Final = 16 * 1024
BODIES_OF: Final = 600
"""Requests."""

RECORDS_BYTES: Final = 32 * 1024
RECORDS_OF: Final = 300
ENTRIES: Final = 1000


def callbacks() -> bytes:
    """Return a dictionary of bodies."""
    rng = random.Random(SEED)
    samples: list[bytes] = []
    for _ in range(BODIES_OF):
        policy = LifecyclePolicy(
            begins_at=rng.randrange(1_500_000_000, 2_000_000_000), spread_s=3600, life_s=1800
        )
        (request,) = generate_requests(1, Account(f"{rng.getrandbits(256):064x}"), rng, policy)
        samples += [callback.json_text for callback in request.callbacks]
    return _trained(BODIES_BYTES, samples)


def records() -> bytes:
    """Return a dictionary of what archives and the clean stream have in common."""
    samples: list[bytes] = []
    with tempfile.TemporaryDirectory() as room:
        kept.play_and_weigh(
            RECORDS_OF, Path(room), Console(), SEED, lambda redis: samples.extend(_records(redis))
        )
    return _trained(RECORDS_BYTES, samples)


def _records(redis: Server) -> list[bytes]:
    client: Any = redis.client
    packed = [client.get(name) for name in client.scan_iter(keys.archive("*"), 1000)]
    packed += [fields[b"event"] for _, fields in client.xrange(keys.EVENTS, count=ENTRIES)]
    texts = [codec.unpack(each, LIMIT_BYTES) for each in packed]
    folder = str(redis.directory).encode()  # of the documents, as records name it
    return [codec.split_ids(text.replace(folder, b"/var/lib/deedbox"))[1] for text in texts]


def _trained(size: int, samples: list[bytes]) -> bytes:
    return zstandard.train_dictionary(size, list[Any](samples)).as_bytes()


TRAINERS: Final[dict[str, Callable[[], bytes]]] = {"callbacks": callbacks, "records": records}


def main() -> None:
    """Train one."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.dictionary")
    parser.add_argument("kind", choices=TRAINERS)
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    options.file.write_bytes(TRAINERS[options.kind]())


if __name__ == "__main__":
    main()
