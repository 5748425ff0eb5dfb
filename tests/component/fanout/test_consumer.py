"""The example in ``deploy/examples`` as a person runs it, against what a crash of Deedbox leaves: repeats."""

from __future__ import annotations

import runpy
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from deedbox.workers.actions import Context, Event
from deedbox.workers.builtins.publish_event import PublishEvent
from tests.component.fanout.conftest import Broker
from tests.component.workers.server import until
from tests.support.brokers import broker_at, connect

PROGRAM = Path(__file__).parents[3] / "deploy" / "examples" / "consumer.py"

pytestmark = pytest.mark.real_redis


@contextmanager
def consuming(broker: Broker, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the program; it leaves its queue behind, as it should, so that nothing is missed while it is down."""
    command = [sys.executable, str(PROGRAM), broker.url, str(folder / "consumer.db")]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def bind(broker: Broker) -> None:
    """Make the program's queue and its binding: an event that is published before them goes nowhere."""
    queue = runpy.run_path(str(PROGRAM))["QUEUE"]
    with connect(broker.url) as connection:
        queue(connection.default_channel).declare()


def handled(folder: Path) -> list[tuple[str, str, int]]:
    """Return what the program did, in its order."""
    if not (folder / "consumer.db").exists():
        return []
    with closing(sqlite3.connect(folder / "consumer.db")) as database:
        try:
            return database.execute("SELECT request, type, time FROM history ORDER BY rowid").fetchall()
        except sqlite3.OperationalError:  # no table yet
            return []


def test_the_example_consumer_handles_each_event_once_in_order_over_a_restart(
    broker: Broker, tmp_path: Path
) -> None:
    bus = broker_at(broker.url).topics()
    publish = PublishEvent(bus)
    run = uuid.uuid4().hex

    def happen(at: int) -> None:
        event = Event(
            "signature_request_viewed", at, float(at), "default", "signature_request/r1", "r1", None,
            test_mode=False, late=False, body_signature="valid", trust="attested", payload={},
        )  # fmt: skip
        publish(event, Context(f"{run}-{at}:publish_event", 1))

    bind(broker)
    with consuming(broker, tmp_path):
        for at in (1, 2, 2, 3):
            happen(at)
        until(lambda: len(handled(tmp_path)) >= 3, "all were handled")
    for at in (3, 4, 5):
        happen(at)
    with consuming(broker, tmp_path):
        until(lambda: len(handled(tmp_path)) >= 5, "the rest was handled")
    bus.close()

    assert [time for _, _, time in handled(tmp_path)] == [1, 2, 3, 4, 5]
