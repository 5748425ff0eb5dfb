"""What MkDocs calls: pages outside docs/ join the site, and every link leads to a page of it or to the repository.

The pages are written for GitHub. Nothing is copied; three things differ on the site. Links are relative to the repository
there, lists are indented by less, and a link to a file that is no page leads to the file.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).parents[2]

OUTSIDE: Final = {
    "runbook.md": "deploy/runbook.md",
    "capacity.md": "deploy/capacity.md",
    "changelog.md": "CHANGELOG.md",
}
"""Place on the site -> place in the repository, of what is not in docs/."""

_LINK: Final = re.compile(r"(?<=\]\()([^)#\s]+)")
_FENCE: Final = re.compile(r"^ *```")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is not in docs/."""
    for place, source in OUTSIDE.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, **_: Any) -> str:
    """Return the page's text as the site needs it."""
    here = posixpath.dirname(source_of(page.file.src_uri))

    def led(match: re.Match[str]) -> str:
        return target(match[1], here, str(config.repo_url))

    lines = []
    fenced: int | None = None  # indent of the fence that is open
    for line in markdown.splitlines():
        indent = len(line) - len(line.lstrip(" "))
        if _FENCE.match(line):
            fenced = indent if fenced is None else None
            lines.append(deeper(line, indent))
        elif fenced is None:
            lines.append(deeper(_LINK.sub(led, line), indent))
        else:
            lines.append(deeper(line, min(indent, fenced)))
    return "\n".join(lines)


def source_of(place: str) -> str:
    """Return where in the repository a page of the site comes from."""
    return OUTSIDE.get(place, f"docs/{place}")


def target(link: str, here: str, repository: str) -> str:
    """Return where a link leads on the site, from a page in this folder of the repository."""
    if "://" in link or link.startswith("mailto:"):
        return link
    path = posixpath.normpath(posixpath.join(here, link))
    places = {source: place for place, source in OUTSIDE.items()}
    if path in places:
        return places[path]
    if path.startswith("docs/") and path.endswith((".md", ".png")):
        return path.removeprefix("docs/")
    if os.path.lexists(ROOT / path):
        return f"{repository.rstrip('/')}/blob/main/{path}"
    return link  # broken: the strict build says so


def deeper(line: str, indent: int) -> str:
    """Indent by four for each level of a list, where GitHub takes two or three."""
    return " " * (4 * -(-indent // 3)) + line[indent:]
