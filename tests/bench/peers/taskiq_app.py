"""taskiq's broker and task, as the README of taskiq-redis has them; no result backend, as nobody reads results.

``ListQueueBroker`` is the fastest of its brokers and has no acknowledgement, as that README warns: a worker that is
killed loses what it had taken. The one with acknowledgements is ``RedisStreamBroker``.
"""

from __future__ import annotations

import os
from typing import Any

from taskiq_redis import ListQueueBroker

from tests.bench.probe import called

broker: Any = ListQueueBroker(url=os.environ["BENCH_REDIS_URL"])


async def _handle(payload: dict[str, Any]) -> None:
    called(payload)


handle: Any = broker.task(task_name="peer.handle")(_handle)
