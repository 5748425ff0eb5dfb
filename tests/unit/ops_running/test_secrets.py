"""Each process type gets the secrets that it needs, and no other: the table, the page of it, and what `up` hands over."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from deedbox.ops.supervise import processes, secrets
from deedbox.ops.supervise.fork_client import OURS
from deedbox.shared.core.errors import SettingsError
from deedbox.shared.secret_files import SUFFIX
from deedbox.shared.settings import SECRETS, Settings
from deedbox.shared.sources import account_of

PAGE = Path(__file__).parents[3] / "docs" / "deploy.md"
ENVIRON = {
    "PATH": "/bin",
    "DEEDBOX_HOLD_S": "1",
    "DEEDBOX_API_KEYS": "first-key,second-key",
    "DEEDBOX_SOURCES": json.dumps({"acme": {"api_keys": ["acme-key"], "client_ids": ["app1"]}}),
    "DEEDBOX_CALLBACK_URL": "https://hooks.example.com/callbacks",
    "DEEDBOX_REDIS_URL": "redis://:state-word@127.0.0.1:1/0",
    "DEEDBOX_BROKER_URL": "redis://:broker-word@127.0.0.1:1/0",
    "DEEDBOX_EVENTS_URL": "amqp://u:events-word@h//",
    "DEEDBOX_ALERT_URLS": "jsons://u:alert-word@h",
    "DEEDBOX_DESTINATIONS": '{"crm": {"url": "https://h/", "secret": "whsec_b3V0LXdvcmQtb3V0LXdvcmQtb3V0LXdvcmQh"}}',
    "DEEDBOX_OPS_TOKEN": "ops-token-0123456789",
}
WORDS = {
    "DEEDBOX_API_KEYS": "first-key", "DEEDBOX_SOURCES": "acme-key", "DEEDBOX_REDIS_URL": "state-word",
    "DEEDBOX_BROKER_URL": "broker-word", "DEEDBOX_EVENTS_URL": "events-word", "DEEDBOX_ALERT_URLS": "alert-word", "DEEDBOX_DESTINATIONS": "b3V0LXdvcmQt",
    "DEEDBOX_OPS_TOKEN": "ops-token",
}  # fmt: skip


def handed_over(environ: dict[str, str]) -> dict[str, dict[str, str]]:
    """Return the environment of each program of `up`."""
    lanes = {
        "sequencer": 1,
        "default": 1,
        "documents": 1,
        "alerts": 1,
        "fanout": 1,
        "destinations": 1,
        "crm": 1,
    }
    found = processes.table(Settings.load(environ), lanes, environ)
    return {each.name: dict(each.environment or {}) for each in found}


def test_each_process_gets_what_the_table_says_and_what_is_no_secret() -> None:
    for program, environ in handed_over(ENVIRON).items():
        needed = secrets.NEEDED[secrets.process_type(program)]
        got = {name for name, word in WORDS.items() if word in str(environ)}
        assert got == needed & WORDS.keys(), program
        assert (environ["PATH"], environ["DEEDBOX_HOLD_S"]) == ("/bin", "1")


def test_a_secret_from_a_file_is_withheld_too(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("file-key")
    environ = {"DEEDBOX_API_KEYS" + SUFFIX: str(tmp_path / "keys"), "DEEDBOX_REDIS_URL": "redis://h"}
    found = handed_over(environ)
    assert [name for name, each in found.items() if "DEEDBOX_API_KEYS" + SUFFIX in each] == [
        "worker-default", "worker-documents", "worker-crm", "web",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "program", ["ops", "sweeper", "bridge", "worker-sequencer", "worker-alerts", "worker-fanout"]
)
def test_a_process_without_keys_knows_the_sources_and_their_accounts(program: str) -> None:
    with_keys = Settings.load(ENVIRON)
    without = Settings.load(handed_over(ENVIRON)[program])
    known = without.known_sources()
    assert {name: source.account for name, source in known.items()} == {
        "acme": account_of("acme-key"), "default": account_of("first-key"),
    }  # fmt: skip
    assert all(not source.api_keys for source in known.values())
    assert {name: (each.callback_url, each.client_ids) for name, each in known.items()} == {
        name: (each.callback_url, each.client_ids) for name, each in with_keys.sources().items()
    }
    with pytest.raises(SettingsError, match="no usable api_keys"):
        without.sources()


@pytest.mark.parametrize("program", ["web", "worker-default"])
def test_keys_are_handed_over_as_they_are(program: str) -> None:
    assert Settings.load(handed_over(ENVIRON)[program]).sources() == Settings.load(ENVIRON).sources()


def test_every_secret_is_in_the_table_and_the_page_says_the_same() -> None:
    assert set(SECRETS) == set().union(*secrets.NEEDED.values())
    rows = re.findall(r"^\| `(DEEDBOX_\w+)` \|(.*)\|$", PAGE.read_text("utf-8"), re.MULTILINE)
    page = {name: {part.strip() for part in cells.split(",")} for name, cells in rows}
    assert page == {
        name: {kind for kind, needed in secrets.NEEDED.items() if name in needed} for name in SECRETS
    }


def test_no_secret_goes_to_the_fork_server() -> None:
    assert all(name.startswith(OURS) for name in SECRETS)
