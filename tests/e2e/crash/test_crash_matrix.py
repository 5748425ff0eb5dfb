"""Every kind of process is killed at every point where a promise could break, under traffic, and none does.

One world for all points: while one process dies with some keys in hand, others die with others. The laws hold
over everything that was acknowledged; those of one point, over what its process had in hand.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from deedbox.ops.demo.evidence import SOURCE
from deedbox.ops.demo.report import DemoReport
from deedbox.shared.core.reasons import Refusal
from tests.component.rabbitmq.conftest import amqp_url
from tests.component.workers.server import RedisServer, server_binary
from tests.e2e.crash.harness import ARCHIVES, Point
from tests.e2e.crash.world import (
    BRIDGE,
    DEFAULT,
    DOCUMENTS,
    SEQUENCER,
    SPARE,
    SWEEPER,
    WEB,
    Death,
    World,
    claimed_at,
)
from tests.soak import moving, moving_proof
from tests.soak.small_disk import SmallDisk

__all__ = ["amqp_url"]
pytestmark = [pytest.mark.e2e, pytest.mark.real_redis, pytest.mark.timeout(300)]

RESUMES_WITHIN_S = 15.0
"""Promised after a SIGKILL; leases last 10 s."""


@dataclass(frozen=True)
class Aftermath:
    """A world in which everybody has died once and everything has settled."""

    world: World
    report: DemoReport

    def death(self, point: Point) -> Death:
        death = self.world.death(point)
        assert death is not None, (point, self.report.found.unfinished, self.world.processes.log())
        return death

    def repeated(self) -> set[str]:
        """Return the fingerprints of what the recording action was called for more than once."""
        calls = Counter(key for _, key in self.world.calls())
        return {key.partition(":")[0] for key, count in calls.items() if count > 1}


def _server(folder: Path, of: RedisServer | None = None) -> RedisServer:
    """Start a Redis, as a replica ``of`` another one if that is given."""
    folder.mkdir()
    follows = ("--replicaof", "127.0.0.1", str(of.port), "--repl-diskless-sync-delay", "0") if of else ()
    server = RedisServer(server_binary(), folder, *follows)
    server.start()
    return server


@pytest.fixture(scope="module")
def aftermath(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aftermath]:
    """Let every process die; the broker is a Redis of its own, so that claim and append are two steps.

    Each Redis has a replica, which is waited for. The broker goes away, and once more while the spool has no room; then the
    replicas do; and an action moves to another lane.
    """
    folder = tmp_path_factory.mktemp("crash")
    state, broker = _server(folder / "state"), _server(folder / "broker")
    replicas = [_server(folder / "state-replica", state), _server(folder / "broker-replica", broker)]
    disk = SmallDisk(folder / "spool") if os.geteuid() == 0 else None
    world = World(folder, state, broker.url, requests=50, seed=5, replicas=1)

    def away(*servers: RedisServer) -> None:
        for server in servers:
            server.kill()
        time.sleep(1.2)
        for server in servers:
            server.start()

    def troubles() -> None:
        time.sleep(0.7)
        away(broker)
        if disk is not None:
            disk.fill()
        away(broker)
        away(*replicas)
        world.deploy()

    try:
        world.start(WEB, Point.WEB_AFTER_PUBLISH, Point.WEB_AFTER_SPOOL)
        world.start(SWEEPER, Point.SWEEPER_BEFORE_RING)
        world.start(SPARE)
        for words, points in (
            (BRIDGE, (Point.BRIDGE_AFTER_CLAIM, Point.BRIDGE_AFTER_APPEND)),
            (SEQUENCER, (Point.SEQUENCER_BEFORE_RELEASE, Point.SEQUENCER_AFTER_RELEASE)),
            (DEFAULT, (Point.LANE_IN_ACTION, Point.LANE_AFTER_EFFECT)),
            (DOCUMENTS, (
                Point.DOCUMENT_BEFORE_RENAME, Point.DOCUMENT_BEFORE_SIDECAR, Point.DOCUMENT_AFTER_RECORD,
            )),
        ):  # fmt: skip
            for point in points:
                world.start(words, point)
        with closing(broker.client()) as client:
            yield Aftermath(world, world.run(troubles, lambda: claimed_at(client)))
    finally:
        world.close()
        for server in (*replicas, state, broker):
            server.stop()
        if disk is not None:
            disk.close()


def test_nothing_acknowledged_is_lost_doubled_or_out_of_order(aftermath: Aftermath) -> None:
    """The report covers P1 to P4: facts, counters and timelines against what the sender knows."""
    assert aftermath.report.problems == (), aftermath.world.processes.log()
    assert aftermath.report.sent.counts.acked > 200


@pytest.mark.skipif(os.geteuid() != 0, reason="A disk that is full needs a mount, and that needs root.")
def test_while_neither_broker_nor_spool_had_room_the_sender_was_asked_to_come_back(
    aftermath: Aftermath,
) -> None:
    log = (aftermath.world.folder / "log").read_text("utf-8", errors="replace")
    assert Refusal.SPOOL_FULL in log


def test_an_action_that_moves_to_another_lane_meanwhile_misses_nothing(aftermath: Aftermath) -> None:
    world, report = aftermath.world, aftermath.report
    facts = [[*fact, fingerprint, 1] for fact, fingerprint in report.sent.acked.items()]
    lines = moving.record_file(world.folder).read_text("utf-8").splitlines()
    assert moving.lane_file(world.folder).read_text("utf-8") == moving.LANES[1]
    assert list(moving_proof.problems(lines, facts, report.found.traces.dead)) == []


@pytest.mark.parametrize("point", [each for each in Point if each not in ARCHIVES])
def test_the_process_died_there_by_sigkill(aftermath: Aftermath, point: Point) -> None:
    death = aftermath.death(point)
    if not point.startswith("web"):  # gunicorn's master reaps those
        assert death.pid in aftermath.world.processes.killed
    if point is not Point.SWEEPER_BEFORE_RING:
        assert death.streams


@pytest.mark.parametrize("point", [Point.WEB_AFTER_PUBLISH, Point.WEB_AFTER_SPOOL, Point.BRIDGE_AFTER_APPEND])
def test_what_is_delivered_again_is_dispatched_once(aftermath: Aftermath, point: Point) -> None:
    """The sender, or the broker, delivers again what the killed process had already passed on."""
    death, world = aftermath.death(point), aftermath.world
    released = Counter(line["event"] for line in world.lines(death.streams, "released", "late"))
    again = {line["event"] for line in world.lines(death.streams, "duplicate", "conflict")}
    assert all(released[each] == 1 for each in death.fingerprints)
    assert death.fingerprints <= again


def test_only_the_call_whose_commit_was_lost_is_made_again(aftermath: Aftermath) -> None:
    """With the idempotency key that it had."""
    assert aftermath.death(Point.LANE_AFTER_EFFECT).fingerprints <= aftermath.repeated()
    in_hand = aftermath.death(Point.LANE_AFTER_EFFECT).streams
    repeated = {
        line["event"] for line in aftermath.world.lines(in_hand, "action") if line["action"] == "record"
    }
    assert aftermath.repeated() <= repeated


def _next_sign(aftermath: Aftermath, point: Point) -> float:
    """Return when something that the killed process had in hand went on."""
    death, world = aftermath.death(point), aftermath.world
    kinds = {
        Point.BRIDGE_AFTER_CLAIM: ("arrived",),
        Point.SEQUENCER_BEFORE_RELEASE: ("released", "late"),
    }.get(point)
    if kinds is None:
        times = [at for at, key in world.calls() if key.partition(":")[0] in death.fingerprints]
    else:
        lines = world.lines(death.streams, *kinds)
        times = [line["at"] for line in lines if line["event"] in death.fingerprints]
    return min(at for at in times if at > death.at)


@pytest.mark.parametrize(
    "point",
    [
        Point.BRIDGE_AFTER_CLAIM,
        Point.SEQUENCER_BEFORE_RELEASE,
        Point.LANE_IN_ACTION,
        Point.LANE_AFTER_EFFECT,
    ],
)
def test_what_was_in_hand_goes_on_soon(aftermath: Aftermath, point: Point) -> None:
    assert _next_sign(aftermath, point) - aftermath.death(point).at < RESUMES_WITHIN_S


def test_every_document_is_whole_and_described(aftermath: Aftermath) -> None:
    """The killed ones too: a name appears with its whole content, and repeats leave one version."""
    folders = sorted((aftermath.world.settings.data_dir / "documents" / SOURCE).iterdir())
    assert len(folders) == len(aftermath.report.sent.documents)
    for folder in folders:
        (document,) = folder.glob("*.pdf")
        (sidecar,) = folder.glob("[!.]*.json")
        facts = json.loads(sidecar.read_bytes())
        assert hashlib.sha256(document.read_bytes()).hexdigest() == document.stem == sidecar.stem
        assert (facts["sha256"], facts["version"], facts["file"]) == (document.stem, "current", document.name)


@pytest.fixture(scope="module")
def rabbit_aftermath(tmp_path_factory: pytest.TempPathFactory, amqp_url: str) -> Iterator[Aftermath]:
    """Let bridges die that consume from RabbitMQ."""
    folder = tmp_path_factory.mktemp("crash_amqp")
    state = _server(folder / "state")
    world = World(folder, state, amqp_url, requests=12, seed=6)
    try:
        world.start(WEB, Point.WEB_AFTER_PUBLISH)
        world.start(BRIDGE, Point.BRIDGE_AFTER_CLAIM)
        world.start(BRIDGE, Point.BRIDGE_AFTER_APPEND)
        for words in (SWEEPER, SEQUENCER, DEFAULT, SPARE, DOCUMENTS, DOCUMENTS):
            world.start(words)

        def repeats_missing() -> str:
            death = world.death(Point.BRIDGE_AFTER_APPEND)
            assert death is not None
            lines = world.lines(death.streams, "duplicate", "conflict")
            missing = death.fingerprints - {line["event"] for line in lines}
            return f"{len(missing)} unacked callbacks not delivered again" if missing else ""

        yield Aftermath(world, world.run(lambda: None, repeats_missing))
    finally:
        world.close()
        state.stop()


@pytest.mark.rabbitmq
def test_bridges_that_die_between_rabbitmq_and_inbox_break_no_promise(rabbit_aftermath: Aftermath) -> None:
    report, log = rabbit_aftermath.report, rabbit_aftermath.world.processes.log()
    assert report.problems == (), log
    assert rabbit_aftermath.repeated() == set()
    for point in (Point.BRIDGE_AFTER_CLAIM, Point.BRIDGE_AFTER_APPEND):
        assert rabbit_aftermath.death(point).pid in rabbit_aftermath.world.processes.killed
