"""The code in the documentation, so that tests run it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]


def blocks(page: str, language: str) -> list[str]:
    """Return the code blocks of a page in a language, in order."""
    text = (ROOT / page).read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def run(code: str, **given: Any) -> dict[str, Any]:
    """Run Python code with the names that its page leaves to the reader; returns the names that it defines."""
    names: dict[str, Any] = {"__name__": "page", **given}
    exec(compile(code, "<page>", "exec"), names)  # noqa: S102 - our own pages
    return names
