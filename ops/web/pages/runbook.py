"""The runbook as a page, so that a reason on another page leads to what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from flask import Blueprint, render_template
from markdown_it import MarkdownIt
from markupsafe import Markup

from deedbox.ops.runbook import TEXT, place


@dataclass(frozen=True, slots=True)
class Chapter:
    """One entry of the contents."""

    id: str
    title: str
    sections: list[tuple[str, str]]
    """Id and title of each."""


@dataclass(frozen=True, slots=True)
class Runbook:
    """The runbook as HTML, and its contents."""

    text: Markup
    chapters: list[Chapter]


def create_runbook() -> Blueprint:
    """Return the route."""
    blueprint = Blueprint("runbook", __name__)

    @blueprint.get("/runbook")
    def page() -> str:
        found = rendered()
        return render_template("runbook.html", text=found.text, chapters=found.chapters)

    return blueprint


@cache
def rendered() -> Runbook:
    """Return the runbook; each heading's id is its text, spaces as hyphens. HTML in the text is escaped.

    The list of contents that the file begins with is left out: the page has its own.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(TEXT.read_text("utf-8"))
    first, end = (
        next(at for at, each in enumerate(tokens) if each.type == f"bullet_list_{part}")
        for part in ("open", "close")
    )
    del tokens[first : end + 1]
    chapters: list[Chapter] = []
    for heading, inline in pairwise(tokens):
        if heading.type == "heading_open":
            title = inline.content.strip()
            id_ = place(title)
            heading.attrSet("id", id_)
            if heading.tag == "h2":
                chapters.append(Chapter(id_, title, []))
            elif heading.tag != "h1":
                chapters[-1].sections.append((id_, title))
    text = Markup(parser.renderer.render(tokens, parser.options, {}))  # noqa: S704 - our own text, HTML switched off
    return Runbook(text, chapters)
