"""Every confirmation shows the command that does the same; run with --dry-run, it gives the same plan."""

from __future__ import annotations

import html
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from redis import Redis
from typer.testing import CliRunner

from deedbox.ops.cli import app as commands
from deedbox.ops.repair import catalog
from deedbox.ops.repair.planned import WRITES
from deedbox.ops.web.app import create_app
from deedbox.ops.web.pages.plans import CONFIRMATIONS
from deedbox.shared.settings import Settings
from deedbox.workers.actions.interface import Context, Event, Reject
from tests.component.ops_web.conftest import TOKEN
from tests.component.workers.rig import Deployment, Journal, action, sent, viewed
from tests.component.workers.server import RedisServer

pytestmark = pytest.mark.real_redis

SIGNED_IN = {"Authorization": f"Bearer {TOKEN}"}
LETTERS = [
    "id=2&id=1", "all=1", "all=1&action=crm", "all=1&reason=rejected&type=signature_request_viewed",
    "all=1&error=KeyError", "all=1&error=no customer *", "all=1&stream=default:signature_request/r1", "all=1&stream=r0",
    "all=1&since=2h", "all=1&since=2h&reason=attempts_exhausted",
]  # fmt: skip


def _fail(event: Event, _context: Context) -> None:
    if event.signature_request_id == "r2":
        raise KeyError("order_id")
    raise Reject(f"no customer {event.time:.0f}")


@pytest.fixture
def site(
    redis_server: RedisServer, state: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> FlaskClient:
    """Return the pages over three requests whose calls were dead-lettered, with the environment of a shell beside it."""
    deployment = Deployment(state, action(_fail, name="crm", attempts=1), action(Journal(), name="billing"))
    for name in ("r0", "r1", "r2"):
        deployment.deliver(sent(request_id=name), viewed(5, name))
    deployment.run()
    environ = {
        "DEEDBOX_REDIS_URL": redis_server.url, "DEEDBOX_DATA_DIR": str(tmp_path), "DEEDBOX_OPS_TOKEN": TOKEN,
        "DEEDBOX_API_KEYS": "k" * 64,
    }  # fmt: skip
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    rows = [
        {"name": name, "types": ["*"], "lane": "default", "ordered": True, "rate": None, "concurrency": None}
        for name in ("crm", "billing")
    ]
    # The command asks a worker process for its actions; this one has no module of actions.
    monkeypatch.setattr(catalog, "described", lambda _environ: {"actions": rows})
    return create_app(Settings.load(environ)).test_client()


def _shown(page: str) -> list[str]:
    """Return the words of the one command that a page shows."""
    [command] = re.findall(r'<p class="command"><code data-copy>(.*?)</code>', page)
    program, *words = shlex.split(html.unescape(command))
    assert program == "deedbox"
    return words


def _planned(words: list[str]) -> dict[str, Any]:
    done = CliRunner().invoke(commands, [*words, "--dry-run", "--json"])
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("act", ["redrive", "discard"])
def test_the_command_of_a_plan_for_letters_plans_the_same_letters(site: FlaskClient, act: str) -> None:
    for chosen in LETTERS:
        page = site.get(f"/dead/plan?do={act}&{chosen}", headers=SIGNED_IN).text
        named = re.findall(r'href="/dead/(\d+)"', page)
        assert named, chosen
        assert sorted(_planned(_shown(page))["plan"]["letters"]) == sorted(named), chosen


def test_the_commands_of_the_other_plans_say_what_the_pages_say(site: FlaskClient) -> None:
    def page(path: str) -> list[str]:
        answer = site.get(path, headers=SIGNED_IN)
        assert answer.status_code == 200, path
        return _shown(answer.text)

    assert _planned(page("/plan/pause?kind=action&name=crm&why=it's away"))["plan"]["name"] == "crm"
    assert _planned(page("/plan/resume?kind=request&name=r0"))["plan"]["kind"] == "request"
    replay = page("/plan/replay?request=signature_request/r0&actions=crm&actions=billing")
    assert _planned(replay)["plan"]["runs"] == {"crm": 2, "billing": 2}
    erase = page("/plan/erase?request=signature_request/r1&documents=1")
    assert _planned(erase)["found"]["events"] == 2
    assert "--documents" in erase


def test_every_write_of_the_api_is_confirmed_on_a_page_too() -> None:
    assert {*CONFIRMATIONS, "redrive", "discard"} == set(WRITES)
    assert CONFIRMATIONS["reconcile"].command({"source": "sales", "since": "6h"}) == (
        "deedbox reconcile --since 6h --source sales"
    )


def test_a_group_of_one_cause_leads_to_its_letters_and_no_others(site: FlaskClient) -> None:
    page = site.get("/dead", headers=SIGNED_IN).text
    groups = re.findall(r'<td class="count">(\d+).*?href="(/dead\?[^"]+)"', page, re.DOTALL)
    assert sorted(int(count) for count, _ in groups) == [2, 4]
    for count, link in groups:
        found = site.get(html.unescape(link), headers=SIGNED_IN).text
        assert f"Matching letters ({count} of 6)" in found


def test_a_letter_and_its_request_lead_to_each_other(site: FlaskClient) -> None:
    letter = site.get("/dead/1", headers=SIGNED_IN).text
    [request] = set(re.findall(r'href="(/requests/default/[^"]+)"', letter))
    page = site.get(request, headers=SIGNED_IN).text
    assert "2 dead letters</a>" in page
    [back] = set(re.findall(r'href="(/dead\?stream=[^"]+)"', page))
    assert 'href="/dead/1"' in site.get(html.unescape(back), headers=SIGNED_IN).text
