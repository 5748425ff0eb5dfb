"""The Python code in the documentation runs, and does what its page says."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest

from deedbox import Context, Event, Reject, Retry
from deedbox.shared.core.signature import event_hash
from deedbox.testing import callback, internal_event
from deedbox.testing import run as kit_run
from deedbox.workers.actions.interface import DECLARED
from tests.support.pages import ROOT, blocks, run

RUN: Final = {
    "README.md": "here",
    "docs/actions.md": "here",
    "docs/missing-callbacks.md": "here",
    "docs/migrate.md": "here",
    "docs/tutorial.md": "tests/e2e/test_tutorial.py",
    "docs/api.md": "tests/component/ops_web/test_api_events.py",
    "docs/testing.md": "tests/unit/test_doc_examples.py",
    "docs/mount.md": "tests/unit/test_doc_examples.py",
}
"""Page -> the tests that run all its blocks of Python."""


def _event(event_type: str, payload: dict[str, Any] | None = None, request_id: str = "r1") -> Event:
    if payload is None:
        return callback(event_type, request_id=request_id).event
    return internal_event(event_type, payload, request_id=request_id)


CONTEXT: Final = Context(idempotency_key="k1", attempt=1)


class _Crm(dict[str, Any]):
    """The reader's own service."""

    up = True

    def is_up(self) -> bool:
        return self.up

    def note(self, request_id: str, what: str, *, key: str) -> None:
        self[request_id].append((what, key))


def test_every_page_with_python_is_run_by_a_test() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "deploy").glob("*.md")]
    with_python = {page.relative_to(ROOT).as_posix() for page in pages if blocks(str(page), "python")}
    assert with_python == set(RUN)
    for page, tests in RUN.items():
        assert Path(page).name in (Path(__file__) if tests == "here" else ROOT / tests).read_text("utf-8")


def test_the_examples_of_an_action_do_what_their_comments_say(capsys: pytest.CaptureFixture[str]) -> None:
    crm, stored = _Crm(r1=[]), []
    example, typed, _once = blocks("docs/actions.md", "python")
    names = run(
        example,
        crm=crm,
        archive=SimpleNamespace(add=lambda *given: stored.append(given)),
    )
    names["update_crm"](_event("signature_request_signed"), CONTEXT)
    assert crm["r1"] == [("signature_request_signed", "k1")]
    with pytest.raises(Reject):
        names["update_crm"](_event("signature_request_signed", request_id="r2"), CONTEXT)
    crm.up = False
    with pytest.raises(Retry) as again:
        names["update_crm"](_event("signature_request_signed"), CONTEXT)
    assert again.value.after == 60
    names["archive_it"](_event("deedbox.document_stored", {"url": "file:///x", "sha256": "ab"}), CONTEXT)
    assert stored == [("file:///x", "ab")]
    [declared] = getattr(names["update_crm"], DECLARED)
    assert (declared.lane, declared.attempts, declared.timeout_s) == ("crm", 8, 60)
    made = callback("signature_request_signed", metadata={"order_id": "7"})
    ran = kit_run(run(typed)["note_signer"], made)
    assert ran.outcome == "done"
    assert capsys.readouterr().out.endswith(" 7\n")


def test_the_example_of_an_effect_in_a_database_writes_one_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with closing(sqlite3.connect("bills.sqlite")) as connection:
        connection.execute("CREATE TABLE bills (request TEXT)")
        bill = run(blocks("docs/actions.md", "python")[2])["bill"]
        made = callback("signature_request_all_signed", request_id="r1")
        assert [kit_run(bill, made).outcome for _ in range(2)] == ["done", "done"]
        assert connection.execute("SELECT request FROM bills").fetchall() == [("r1",)]


def test_the_readme_shows_the_same_example() -> None:
    assert blocks("README.md", "python") == blocks("docs/actions.md", "python")[:1]


def test_the_action_for_missing_callbacks_gets_what_the_page_says() -> None:
    told: list[tuple[Any, ...]] = []
    names = run(
        blocks("docs/missing-callbacks.md", "python")[0],
        pager=SimpleNamespace(notify=lambda *given: told.append(given)),
    )
    names["tell_someone"](_event("deedbox.reconciled", {"gaps": ["behind"], "missed": []}), CONTEXT)
    assert told == [("r1", ["behind"], [])]


def test_the_handler_before_and_the_action_after_a_migration_do_the_same() -> None:
    before, after = blocks("docs/migrate.md", "python")
    old, new = run(before), run(after)
    body = {
        "event": {
            "event_type": "signature_request_all_signed", "event_time": "1767225600",
            "event_hash": event_hash("your-api-key", "1767225600", "signature_request_all_signed"),
        },
        "signature_request": {"signature_request_id": "r1"},
    }  # fmt: skip
    client = old["app"].test_client()
    assert client.post("/hellosign", data={"json": json.dumps(body)}).data == b"Hello API Event Received"
    body["event"]["event_hash"] = "0" * 64
    assert client.post("/hellosign", data={"json": json.dumps(body)}).status_code == 401
    new["order_is_signed"](_event("signature_request_all_signed"), CONTEXT)
    assert old["orders"] == new["orders"] == {"r1": "signed"}


WRITTEN: Final = sorted(set((ROOT / "docs").glob("*.md")) - {ROOT / "docs" / "cli.md"})
"""The page of the commands is made from the commands themselves."""


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.stem)
def test_every_shell_block_can_be_parsed_and_names_commands_that_exist(page: Path) -> None:
    shell = blocks(str(page), "sh") + [
        re.sub(
            r"^\$ ",
            "",
            "\n".join(row for row in block.splitlines() if row.startswith("$ ")),
            flags=re.MULTILINE,
        )
        for block in blocks(str(page), "console")
    ]
    known = set(
        re.findall(r"^## `deedbox ([\w-]+)`", (ROOT / "docs" / "cli.md").read_text("utf-8"), re.MULTILINE)
    )
    for code in shell:
        done = subprocess.run(["bash", "-n"], input=code, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), code
        assert set(re.findall(r"^\s*(?:\S+/)?deedbox ([a-z][\w-]+)", code, re.MULTILINE)) <= known
    named = set(re.findall(r"`deedbox ([a-z][\w-]+)", page.read_text("utf-8")))
    assert named <= known
