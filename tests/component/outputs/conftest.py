from __future__ import annotations

from tests.component.ops.conftest import operate
from tests.component.workers.conftest import redis_server, state

__all__ = ["operate", "redis_server", "state"]
