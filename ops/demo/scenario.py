"""The traffic of ``deedbox demo``: its tenant, its signature requests, and a schedule full of what goes wrong."""

from __future__ import annotations

import random
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from deedbox.shared.simulator.api_state import FilesApiPolicy
from deedbox.shared.simulator.files_api import FilesApi
from deedbox.shared.simulator.ledger import Counts, Ledger
from deedbox.shared.simulator.lifecycle import Account, SimulatedRequest, generate_requests
from deedbox.shared.simulator.player import Player, PlayerPolicy
from deedbox.shared.simulator.story import LifecyclePolicy
from deedbox.shared.simulator.traffic import Delivery, TrafficPolicy, schedule

LADDER_SCALE: Final = 1 / 3000
"""The vendor's six retries come after 0.1 s to 24 s instead of 5 min to 20 h: a killed web process is back by then."""

_LIFE: Final = LifecyclePolicy(begins_at=0)
_SECONDS_PER_REQUEST: Final = 0.1
_SHORTEST_S: Final = 3.0

_FILES_API: Final = FilesApiPolicy(
    not_ready_max=2, exceeded_rate=0.008, calls_per_window=10_000, file_calls_per_window=10_000, window_s=1
)
"""Files are not ready at first (409), the rate limit is exceeded now and then (429); a window lasts a second, so
that a demo does not wait for minutes."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """Everything that one demo plays, drawn from its seed."""

    seed: int
    account: Account
    requests: tuple[SimulatedRequest, ...]
    deliveries: tuple[Delivery, ...]

    @classmethod
    def draw(cls, count: int, seed: int) -> Scenario:
        """Draw ``count`` signature requests and their deliveries. All events have happened by now."""
        rng = random.Random(seed)  # noqa: S311 - reproducible traffic, not cryptography
        account = Account(api_key=secrets.token_hex(32))
        begins_at = int(time.time()) - _LIFE.spread_s - _LIFE.life_s - 2
        requests = generate_requests(count, account, rng, LifecyclePolicy(begins_at=begins_at))
        deliveries = schedule(requests, account, rng, _traffic(count))
        return cls(seed, account, tuple(requests), tuple(deliveries))

    def files_api(self, callback_url: str) -> FilesApi:
        """Return the account's API, not started."""
        return FilesApi(self.account, _FILES_API, callback_url=callback_url)

    def play(
        self, url: str, files_api: FilesApi, on_progress: Callable[[Counts], None], stop: threading.Event
    ) -> Ledger:
        """Make every delivery against the ingress at ``url``."""
        policy = PlayerPolicy(ladder_scale=LADDER_SCALE)
        player = Player(
            url,
            self.account.api_key,
            policy,
            on_occurred=files_api.advance,
            on_progress=on_progress,
        )
        return player.play(self.deliveries, stop)


def _traffic(count: int) -> TrafficPolicy:
    return TrafficPolicy(
        duration_s=max(_SHORTEST_S, count * _SECONDS_PER_REQUEST),
        duplicate_rate=0.12,
        duplicate_delay_mean_s=0.8,
        disorder_rate=0.3,
        disorder_delay_mean_s=0.8,
        bad_signature_rate=0.04,
    )
