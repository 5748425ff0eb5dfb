"""The runbook as a page, so that a reason on another page leads to what to do about it."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import Final

from flask import Blueprint, render_template
from markdown_it import MarkdownIt
from markupsafe import Markup

_TEXT: Final = files("deedbox.ops.web") / "runbook.md"
"""A link to ``deploy/runbook.md``, which the wheel has as a file."""


def create_runbook() -> Blueprint:
    """Return the route."""
    blueprint = Blueprint("runbook", __name__)

    @blueprint.get("/runbook")
    def page() -> str:
        return render_template("runbook.html", text=rendered())

    return blueprint


@cache
def rendered() -> Markup:
    """Return the runbook as HTML; each heading's id is its text, spaces as hyphens. HTML in the text is escaped."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(_TEXT.read_text("utf-8"))
    for heading, inline in pairwise(tokens):
        if heading.type == "heading_open":
            heading.attrSet("id", inline.content.strip().lower().replace(" ", "-"))
    return Markup(parser.renderer.render(tokens, parser.options, {}))  # noqa: S704 - our own text, HTML switched off
