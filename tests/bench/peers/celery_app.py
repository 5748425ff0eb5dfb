"""Celery's application and task, configured as its optimizing guide says for many short tasks."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery

from tests.bench.probe import called

app: Any = Celery("peer", broker=os.environ["BENCH_REDIS_URL"])
app.conf.update(
    # Nobody reads the results.
    task_ignore_result=True,
    # The guide, for many short tasks: a large number, 64 or 128 to begin with.
    worker_prefetch_multiplier=64,
    # The guide: as many as threads use it. gunicorn runs 8 per process; 10 is also the default.
    broker_pool_limit=10,
    broker_connection_retry_on_startup=True,
)


def _handle(payload: dict[str, Any]) -> None:
    called(payload)


handle: Any = app.task(name="peer.handle")(_handle)
