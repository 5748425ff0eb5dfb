from __future__ import annotations

from tests.component.workers.conftest import quiet, redis_server, state

__all__ = ["quiet", "redis_server", "state"]
