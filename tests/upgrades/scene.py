"""The requests of a recording: each is at another place of the pipeline when the older version stops."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

from deedbox.shared.simulator.api_state import FilesApiPolicy
from deedbox.shared.simulator.files_api import FilesApi
from deedbox.shared.simulator.lifecycle import Account, SimulatedCallback, SimulatedFact, generate_requests
from deedbox.shared.simulator.story import LifecyclePolicy
from tests.upgrades.installation import API_KEY

FINISHED: Final = "finished"
HELD: Final = "held"
"""Its first callback comes after the upgrade."""
FAILING: Final = "failing"
"""Each call of its is a dead letter."""
RETRYING: Final = "retrying"
INBOX: Final = "inbox"
BROKER: Final = "broker"
SPOOLED: Final = "spooled"
NAMES: Final = (FINISHED, HELD, FAILING, RETRYING, INBOX, BROKER, SPOOLED)

_STORY: Final = LifecyclePolicy(
    begins_at=0, signers_max=1, declined_rate=0, canceled_rate=0, remind_rate=0, second_view_rate=0, intermediate_rate=0
)  # fmt: skip
_PLENTY: Final = FilesApiPolicy(not_ready_max=0, calls_per_window=9999, file_calls_per_window=9999)


@dataclass(frozen=True)
class Scene:
    """Callbacks by the name of their request, in honest order."""

    callbacks: Mapping[str, tuple[SimulatedCallback, ...]]

    @classmethod
    def draw(cls) -> Self:
        """Return requests of the last minute."""
        account = Account(API_KEY)
        story = replace(_STORY, begins_at=int(time.time()) - 60)
        requests = generate_requests(len(NAMES), account, random.Random(1), story)
        return cls({name: each.callbacks for name, each in zip(NAMES, requests, strict=True)})

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what ``write`` wrote, whatever the simulator draws today."""
        texts: dict[str, list[str]] = json.loads(path.read_text("utf-8"))
        return cls({name: tuple(_callbacks(each)) for name, each in texts.items()})

    def write(self, path: Path) -> None:
        """Write the callbacks down as they were sent."""
        texts = {name: [each.json_text.decode() for each in found] for name, found in self.callbacks.items()}
        path.write_text(json.dumps(texts, indent=1) + "\n", "utf-8")

    def request_id(self, name: str) -> str:
        """Return the id of a request."""
        return self.callbacks[name][0].signature_request_id

    def facts(self, *names: str) -> list[SimulatedFact]:
        """Return what the callbacks of these requests say, in order."""
        return [each.fact for name in names for each in self.callbacks[name]]

    def files_api(self) -> FilesApi:
        """Return the account's API, not started; everything has happened."""
        found = FilesApi(Account(API_KEY), _PLENTY)
        for name in NAMES:
            for each in self.callbacks[name]:
                found.advance(each)
        return found


def _callbacks(texts: Iterable[str]) -> Iterable[SimulatedCallback]:
    for number, text in enumerate(texts):
        payload = json.loads(text)
        event = payload["event"]
        yield SimulatedCallback(
            event["event_type"], int(event["event_time"]), payload["signature_request"]["signature_request_id"],
            event["event_metadata"]["related_signature_id"], number, payload, text.encode(),
        )  # fmt: skip
