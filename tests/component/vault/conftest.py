from __future__ import annotations

from tests.component.workers.conftest import fragile, quiet, redis_server, state

__all__ = ["fragile", "quiet", "redis_server", "state"]
