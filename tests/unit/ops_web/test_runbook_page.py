"""The runbook's page: contents, and a place for every link that leads into it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deedbox.ops.runbook import section, sections
from deedbox.ops.web.pages.runbook import rendered
from deedbox.shared.core.errors import DeedboxError
from deedbox.shared.core.reasons import DeathReason, Refusal

OPS = Path(__file__).parents[3] / "ops"


def _places() -> set[str]:
    return set(re.findall(r'<h\d id="([^"]+)"', rendered().text))


def test_every_link_into_the_runbook_leads_to_a_heading() -> None:
    text = "".join(path.read_text("utf-8") for path in OPS.rglob("*") if path.suffix in {".py", ".html"})
    links = set(re.findall(r'/runbook#([\w-]+)"', text))
    assert links
    assert links | set(DeathReason) | set(Refusal) <= _places()


def test_the_contents_name_every_heading_once() -> None:
    listed = [place for chapter in rendered().chapters for place in (chapter.id, *dict(chapter.sections))]
    assert len(listed) == len(set(listed))
    assert {*listed, "runbook"} == _places()


def test_no_code_is_the_number_of_a_list() -> None:
    assert 'start="' not in rendered().text


def test_every_command_for_the_runbook_that_is_written_anywhere_names_a_section() -> None:
    """Law: an operator who copies `deedbox runbook NAME` from a message, a page or the documentation reads a section."""
    root = OPS.parent
    places = ("ops", "shared", "workers", "ingress", "docs", "deploy")
    text = "".join(
        path.read_text("utf-8")
        for place in places for path in (root / place).rglob("*") if path.suffix in {".py", ".html", ".md", ".yaml"}
    )  # fmt: skip
    named = set(re.findall(r"`deedbox runbook ([a-z][\w-]*)`", text))
    assert len(named) > 4
    assert named <= set(sections())


def test_the_command_and_the_page_have_the_same_sections() -> None:
    assert {*sections(), "runbook"} == _places()
    assert section(["Redis", "is", "full"]) == section(["redis-is-full"])
    with pytest.raises(DeedboxError, match="did you mean `deedbox runbook bad_event_hash`"):
        section(["bad_event_has"])
