"""The benchmark's stages are the real processes, and only the measured one works."""

from __future__ import annotations

from pathlib import Path

import pytest

from deedbox.shared.redis import keys
from tests.bench import shapes
from tests.bench.processes import Crew
from tests.bench.redis_server import redis_server
from tests.bench.stages import BRIDGE, LANE, SEQUENCER, STAGES, stages

pytestmark = [pytest.mark.real_redis, pytest.mark.e2e]


def test_each_stage_works_off_a_backlog_while_the_others_stand_still(tmp_path: Path) -> None:
    with Crew(tmp_path) as crew, redis_server(crew, tmp_path) as redis:
        with stages(crew, redis, tmp_path / "marks") as pipeline:
            shapes.fill_broker(redis.client, shapes.lives(), 300)
            shapes.fill_inbox(redis.client, shapes.keyed(1), 20)
            (bridged,) = pipeline.run(BRIDGE, 300)
            assert (bridged.events, pipeline.done(SEQUENCER), pipeline.done(LANE)) == (300, 0, 0)
            assert not redis.client.exists(keys.RAW_QUEUE)
            sequenced = pipeline.run(SEQUENCER, 320, slices=2)
            assert sum(each.events for each in sequenced) == 320
            assert pipeline.inbox() == 0
            assert redis.counter("held") == redis.counter("duplicate") == redis.counter("late") == 0
            (acted,) = pipeline.run(LANE, 320)
            assert acted.events == 320
            assert acted.cpu_s > 0
            assert acted.redis_cpu_s > 0
            assert all(pipeline.connections(stage) > 0 and pipeline.peak_mb(stage) > 0 for stage in STAGES)
        assert redis.blocked() == 0
