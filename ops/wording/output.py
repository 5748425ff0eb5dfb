"""How commands write: JSON for programs, text for people that cannot steer their terminal."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from deedbox.shared.printable import printable

PLAIN_WIDTH: Final = 140
"""Columns where there is no terminal to ask."""

_RUN: Final = re.compile(r"[^\s<>\"'(),;:]+")
"""What may be an address: text between separators. Each character is looked at once, however long a run is."""

_MS: Final = 0.001
_STEPS: Final = (("d", 86_400), ("h", 3_600), ("min", 60))


def console() -> Console:
    """Return a console without markup: what it prints came over the network."""
    width = None if sys.stdout.isatty() else PLAIN_WIDTH
    return Console(markup=False, highlight=False, emoji=False, width=width)


def write_line(text: str = "") -> None:
    """Write one line, made harmless; lines within it stay lines."""
    sys.stdout.write(printable(text) + "\n")


def plain_table() -> Table:
    """Return a table without lines."""
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))


def write_table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], cut: Collection[str] = frozenset()
) -> None:
    """Write a table, its cells made harmless. ``cut``: columns of which a row shows what fits; others are folded."""
    table = plain_table()
    for heading in headings:
        table.add_column(heading, overflow="ellipsis" if heading in cut else "fold")
    for cells in rows:
        table.add_row(*(Text(printable(" ".join(cell.split()))) for cell in cells))
    console().print(table)


def write_json(document: Any, *, compact: bool = False) -> None:
    """Write one JSON document; ``compact`` on one line."""
    text = json.dumps(document, indent=None if compact else 2, ensure_ascii=True)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def masked(text: str) -> str:
    """Hide e-mail addresses: an error's message may quote a signer's."""
    return _RUN.sub(_hidden, text) if "@" in text else text


def _hidden(run: re.Match[str]) -> str:
    return "<e-mail>" if "@" in run[0].strip("@") else run[0]


def without_addresses(value: Any) -> Any:
    """Apply ``masked`` to every text of a JSON value."""
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, list):
        return [without_addresses(item) for item in value]
    if isinstance(value, dict):
        return {name: without_addresses(item) for name, item in value.items()}
    return value


def duration(seconds: float | None) -> str:
    """Write a duration with two units at most, such as ``2 h 5 min``; a dash for None."""
    if seconds is None:
        return "-"
    if seconds < 0:
        return "-" + duration(-seconds)
    if seconds < 1:
        return "0 s" if seconds == 0 else f"{seconds * 1000:.0f} ms" if seconds >= _MS else "<1 ms"
    if seconds < 10:  # noqa: PLR2004 - below, tenths matter
        return f"{seconds:.1f} s"
    rest = round(seconds)
    for index, (unit, size) in enumerate(_STEPS):
        if rest >= size:
            lower, lower_size = (*_STEPS, ("s", 1))[index + 1]
            many, few = divmod(rest, size)
            return f"{many} {unit} {few // lower_size} {lower}" if few // lower_size else f"{many} {unit}"
    return f"{rest} s"


def clock(at: float) -> str:
    """Write a time (unix seconds) in UTC."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}"


def counted(count: int, one: str, many: str = "") -> str:
    """Write a count with its noun."""
    return f"{count} {one if count == 1 else many or one + 's'}"
