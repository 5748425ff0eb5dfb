"""The runbook by section: for the command ``runbook`` and the page of the dashboard."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Final

from deedbox.shared.core.errors import DeedboxError

TEXT: Final = files("deedbox.ops") / "runbook.md"
"""A link to ``deploy/runbook.md``, which the wheel has as a file."""

_HEADING: Final = re.compile(r"^(#{2,4}) (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class RunbookSection:
    """One heading and the text up to the next."""

    place: str
    """Its name in links and commands."""
    title: str
    text: str
    parts: list[str] = field(default_factory=list)
    """Places of the smaller headings below it."""


def place(title: str) -> str:
    """Return the name of a heading in links and commands."""
    return title.strip().lower().replace(" ", "-")


@cache
def sections() -> dict[str, RunbookSection]:
    """Return every section by its place, in the order of the file."""
    found: dict[str, RunbookSection] = {}
    chapter: RunbookSection | None = None
    _, *pieces = _HEADING.split(TEXT.read_text("utf-8"))
    for level, title, text in zip(pieces[::3], pieces[1::3], pieces[2::3], strict=True):
        section = found[place(title)] = RunbookSection(place(title), title, text.strip())
        if level == "##":
            chapter = section
        elif chapter is not None:
            chapter.parts.append(section.place)
    return found


def contents() -> str:
    """Return the names of all sections; those of a chapter follow it, indented."""
    found = sections()
    inner = {part for each in found.values() for part in each.parts}
    return "\n".join(f"  {each}" if each in inner else each for each in found)


def section(words: Iterable[str]) -> RunbookSection:
    """Return the section that a person means, in any case. Raises DeedboxError."""
    wanted, known = place(" ".join(words)), sections()
    if wanted in known:
        return known[wanted]
    alike = difflib.get_close_matches(wanted, known, n=1)
    meant = f"; did you mean `deedbox runbook {alike[0]}`?" if alike else "."
    raise DeedboxError(f"The runbook has no section {wanted}{meant} `deedbox runbook` lists them.")
