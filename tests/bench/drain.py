"""How fast a spool drains: ``python -m tests.bench.drain [--rabbitmq] [--callbacks N]``. Starts its own broker."""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deedbox.ingress.spool.drain import Drainer
from deedbox.ingress.spool.folder import SpoolDir
from deedbox.ingress.spool.writer import Spool
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.signature import BodySignature
from tests.bench.processes import Crew
from tests.bench.redis_server import redis_server
from tests.support.brokers import broker_at
from tests.support.rabbitmq import RabbitServer

RUNS = 3
BODY = b'{"pad": "' + b"x" * 2000 + b'"}'


@contextmanager
def _broker(folder: Path, *, rabbitmq: bool) -> Iterator[str]:
    if not rabbitmq:
        with Crew(folder) as crew, redis_server(crew, folder) as server:
            yield server.url
        return
    node = RabbitServer(folder / "node")
    try:
        node.start()
        yield node.url
    finally:
        node.close()


def _drain(folder: Path, url: str, callbacks: int) -> float:
    """Spool callbacks, then drain them. Returns callbacks/s."""
    spooled = SpoolDir(folder)
    spool = Spool(spooled, 1 << 40)
    for number in range(callbacks):
        spool.append(Envelope("default", float(number), BodySignature.ABSENT, f"{number:032x}", BODY), 5)
    spool.close()
    publisher = broker_at(url)
    publisher.ping()
    started = time.perf_counter()
    found = Drainer(spooled, publisher).drain()
    took_s = time.perf_counter() - started
    publisher.close()
    if found.published != callbacks:
        raise SystemExit(f"only {found.published} of {callbacks} were drained: {found.trouble}")
    return callbacks / took_s


def main() -> None:
    """Measure, and print one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rabbitmq", action="store_true", help="into RabbitMQ, with publisher confirms")
    parser.add_argument("--callbacks", type=int, default=5000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with _broker(folder, rabbitmq=options.rabbitmq) as url:
            rates = [_drain(folder / f"spool{run}", url, options.callbacks) for run in range(RUNS)]
    kind = "RabbitMQ, quorum queue, confirms" if options.rabbitmq else "Redis, appendfsync always"
    sys.stdout.write(
        f"{kind}: median {statistics.median(rates):,.0f} callbacks/s of {len(BODY)} bytes "
        f"({', '.join(f'{rate:,.0f}' for rate in rates)})\n"
    )


if __name__ == "__main__":
    main()
