"""What a destination waits for is on the overview, and its attempts are on the page of each request."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from redis import Redis

from deedbox.ops.web.app import create_app
from deedbox.shared.settings import Settings
from deedbox.workers.actions.interface import Context, Event, Retry
from tests.component.ops_web.conftest import TOKEN
from tests.component.workers.rig import Deployment, Journal, action, sent
from tests.component.workers.server import RedisServer

pytestmark = pytest.mark.real_redis


def _away(_event: Event, _context: Context) -> None:
    raise Retry("crm.example.com answered 503", after=3600)


def test_a_destination_that_is_away_shows_what_it_answered_and_what_waits(
    redis_server: RedisServer, state: Redis, tmp_path: Path
) -> None:
    deployment = Deployment(
        state,
        action(_away, name="deliver.crm"),
        action(Journal(), name="deliver.archive"),
        action(Journal(), name="mail"),
    )
    deployment.deliver(sent(request_id="r1"))
    deployment.run()
    settings = Settings.load({
        "DEEDBOX_REDIS_URL": redis_server.url, "DEEDBOX_DATA_DIR": str(tmp_path), "DEEDBOX_OPS_TOKEN": TOKEN,
        "DEEDBOX_API_KEYS": "k" * 64,
    })  # fmt: skip
    client = create_app(settings).test_client()

    def part(path: str, name: str) -> str:
        page = client.get(path, headers={"Authorization": f"Bearer {TOKEN}"}).text
        words = re.sub(r"<[^>]+>", " ", page.partition(f'data-part="{name}"')[2].partition("</section>")[0])
        return " ".join(words.split())

    overview = part("/", "destinations")
    assert re.search(
        r"crm away for .* 1 crm\.example\.com answered 503\. Next attempt in .*, for r1", overview
    )
    assert re.search(r"archive delivering 0 everything delivered", overview)
    assert "mail" not in overview
    request = part("/requests/default/signature_request/r1", "deliveries")
    assert re.search(r"archive action done in", request)
    assert re.search(r"crm retry put off .* answered 503; again in .* next attempt in", request)
