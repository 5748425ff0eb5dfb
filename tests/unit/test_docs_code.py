"""The Python code in the documentation runs, and does what its page says."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest
from flask import Flask

from deedbox import Context, Event, Reject, Retry
from deedbox.ingress.app import EXTENSION
from deedbox.shared.core.signature import event_hash
from deedbox.workers.actions.interface import DECLARED
from tests.support.pages import ROOT, blocks, run
from tests.unit.ingress.wire import KEY, MULTIPART, callback, multipart

RUN: Final = {
    "README.md": 1, "docs/actions.md": 2, "docs/missing-callbacks.md": 1, "docs/migrate.md": 2,
    "docs/tutorial.md": 1,  # by tests/e2e/test_tutorial.py
    "docs/api.md": 1,  # by tests/component/ops_web/test_api_events.py
}  # fmt: skip
"""Page -> its blocks of Python, all of which a test runs."""


def _event(event_type: str, payload: Mapping[str, Any] | None = None, request_id: str = "r1") -> Event:
    return Event(
        type=event_type, time=1767225600, received_at=1767225601.5, source="default",
        ordering_key=f"signature_request/{request_id}", signature_request_id=request_id, related_signature_id="s1",
        test_mode=False, late=False, body_signature="valid", trust="attested", payload=payload or {},
    )  # fmt: skip


CONTEXT: Final = Context(idempotency_key="k1", attempt=1)


class _Crm(dict[str, Any]):
    """The reader's own service."""

    up = True

    def is_up(self) -> bool:
        return self.up

    def note(self, request_id: str, what: str, *, key: str) -> None:
        self[request_id].append((what, key))


def test_every_python_block_of_the_pages_is_run_by_a_test() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "deploy").glob("*.md")]
    found = {page.relative_to(ROOT).as_posix(): len(blocks(str(page), "python")) for page in pages}
    assert {page: count for page, count in found.items() if count} == RUN


def test_the_first_example_does_what_its_comments_say() -> None:
    crm, stored = _Crm(r1=[]), []
    names = run(
        blocks("docs/actions.md", "python")[0],
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


def test_the_readme_shows_the_same_example() -> None:
    assert blocks("README.md", "python") == blocks("docs/actions.md", "python")[:1]


def test_the_blueprint_of_the_page_acknowledges_a_callback(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = {
        "DEEDBOX_API_KEYS": KEY,
        "DEEDBOX_REDIS_URL": "redis://127.0.0.1:1/0",
        "DEEDBOX_DATA_DIR": str(tmp_path),
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    app = Flask("readers_own")
    run(blocks("docs/actions.md", "python")[1], app=app)
    try:
        # No broker is there: the callback goes to the spool.
        answer = app.test_client().post("/callbacks", data=multipart(callback()), content_type=MULTIPART)
        assert (answer.status_code, answer.data) == (200, b"Hello API Event Received")
    finally:
        app.extensions[EXTENSION].close()


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
