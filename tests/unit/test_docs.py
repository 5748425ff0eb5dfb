"""Documentation is a tested surface: what it lists is what the code knows."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from deedbox.ops.web.api.blueprint import OPERATIONS
from deedbox.shared.core.reasons import DeathReason, Refusal
from deedbox.shared.redis import keys
from deedbox.shared.settings import Settings

ROOT = Path(__file__).parents[2]


def _variables() -> set[str]:
    return {str(field.alias) for field in Settings.model_fields.values()}


def _text(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


@pytest.mark.parametrize("variable", sorted(_variables()))
def test_every_setting_is_in_the_environment_example_and_on_its_page(variable: str) -> None:
    assert re.search(rf"^(# )?{variable}=", _text("deploy/env.example"), re.MULTILINE)
    assert f"`{variable}`" in _text("docs/settings.md")


def test_generated_pages_are_what_the_code_says() -> None:
    command = [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"]
    assert subprocess.run(command, capture_output=True, text=True, check=False).stdout == ""


def _pages() -> list[Path]:
    tracked = subprocess.run(
        ["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [ROOT / name for name in tracked.stdout.splitlines() if "vendor" not in name]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no checkout: the list of pages comes from git")
def test_every_link_between_pages_leads_somewhere() -> None:
    broken = [
        f"{page.relative_to(ROOT)} -> {target}"
        for page in _pages()
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text("utf-8"))
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert broken == []


def test_the_environment_example_names_no_setting_that_does_not_exist() -> None:
    listed = set(re.findall(r"^(?:# )?([A-Z_]+)=", _text("deploy/env.example"), re.MULTILINE))
    assert listed == _variables()


def test_the_environment_example_as_it_stands_gives_the_defaults() -> None:
    lines = re.findall(r"^# ([A-Z_]+)=(.*)$", _text("deploy/env.example"), re.MULTILINE)
    # What names a place or a secret is an example there; all else shows its default.
    examples = {"DEEDBOX_SOURCES", "DEEDBOX_REDIS_URL", "DEEDBOX_DOCUMENTS_URL", "DEEDBOX_ACTIONS",
                "DEEDBOX_OPS_HOSTS", "DEEDBOX_OPS_TOKENS", "DEEDBOX_CALLBACK_URL", "DEEDBOX_OPS_TRUSTED_PROXIES",
                    "DEEDBOX_OPS_PROXY_USER_HEADER"}  # fmt: skip
    shown = Settings.load({name: value for name, value in lines if name not in examples})
    assert shown == Settings.load({})


@pytest.mark.parametrize("reason", [*Refusal, *DeathReason])
def test_every_reason_has_a_heading_in_the_runbook(reason: str) -> None:
    assert f"### {reason}\n" in _text("deploy/runbook.md")


def test_the_runbook_has_no_heading_for_a_reason_that_does_not_exist() -> None:
    headings = set(re.findall(r"^### (\S+)$", _text("deploy/runbook.md"), re.MULTILINE))
    assert headings == {str(reason) for reason in (*Refusal, *DeathReason)}


@pytest.mark.parametrize("path", [operation.path for operation in OPERATIONS])
def test_every_address_of_the_api_is_on_its_page(path: str) -> None:
    assert f"| `{path}` |" in _text("docs/api.md")


def test_every_key_constant_and_function_stands_in_the_table_of_the_keyspace() -> None:
    table = keys.__doc__ or ""
    for name in ("inbox", "queue", "order", "seen", "timeline", "event", "request", "document", "fetching"):
        assert f"{name}:<" in table
    constants = (keys.HELD, keys.DEAD, keys.COUNTERS, keys.REDRIVE, keys.SUBSCRIPTIONS, keys.DEPTHS, keys.BRIDGE_LEASES,
                 keys.SPOOLS, keys.INTAKE, keys.SOURCES, keys.CALLS, keys.EVENTS, keys.ALERTS,
                 keys.CALLBACK_URL_WATCHED, keys.CONFIRM_DUE, keys.STREAMS, keys.SAMPLES, keys.SAMPLES_TOTALS, keys.RESTARTS)  # fmt: skip
    for constant in constants:
        assert constant.removeprefix(keys.PREFIX) in table
