"""An action that sometimes never returns, in a lane of its own: a soak's hung calls."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from deedbox import Context, Event, action

NAME: Final = "hang"
ONE_IN_VARIABLE: Final = "SOAK_HANGS_ONE_IN"


@action("signature_request_viewed", name=NAME, lane=NAME, attempts=1, timeout_s=1)
def hang(_event: Event, context: Context) -> None:
    """Wait for a thread that never ends, for one event in so many: no exception gets out of such a block."""
    if int(context.idempotency_key[:8], 16) % int(os.environ[ONE_IN_VARIABLE]) == 0:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(time.sleep, 3600)
