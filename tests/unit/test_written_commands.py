"""What messages, pages and documentation tell a person to type exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import typer

from deedbox.ops.cli import app

ROOT: Final = Path(__file__).parents[2]
PLACES: Final = ("ops", "shared", "workers", "ingress", "docs", "deploy")
_CUT_STRING: Final = re.compile(r'"\s*\n\s*f?"')
"""A text that goes on in the next line of code."""


def _written() -> Iterator[tuple[str, list[str]]]:
    """Yield file and words of every command between backticks."""
    files = [ROOT / "README.md", ROOT / "SECURITY.md"]
    for place in PLACES:
        files += [
            path for path in (ROOT / place).rglob("*") if path.suffix in {".py", ".md", ".html", ".yaml"}
        ]
    for path in files:
        text = _CUT_STRING.sub("", path.read_text("utf-8"))
        for command in re.findall(r"`deedbox ([^`{]*)`", text):
            yield str(path.relative_to(ROOT)), command.split()


def test_every_command_between_backticks_exists_and_so_do_its_options() -> None:
    """Law: an operator never copies a command that is refused for its words."""
    root: Any = typer.main.get_command(app)
    wrong, seen = [], 0
    for file, words in _written():
        seen += 1
        node, rest = root, words
        while rest and rest[0] in getattr(node, "commands", {}):
            node, rest = node.commands[rest[0]], rest[1:]
        known = {option for each in node.params for option in each.opts} | {"--help"}
        options = {word.strip("[],").partition("=")[0] for word in rest if word.strip("[").startswith("-")}
        if (hasattr(node, "commands") and rest and not options) or not options <= known:
            wrong.append((file, words))
    assert seen > 100
    assert wrong == []
