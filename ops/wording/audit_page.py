"""What people changed, as a table of the terminal; the dashboard says an operation with the same words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from deedbox.ops.wording.output import console
from deedbox.shared.audit import AuditLine
from deedbox.shared.printable import printable

if TYPE_CHECKING:
    from rich.table import Table


def write(found: Sequence[AuditLine]) -> None:
    """Print the operations."""
    console().print(_table(found))


def count_of(line: AuditLine) -> str:
    """Say how many things were changed."""
    return "broke off" if line.count is None else str(line.count)


def asked_of(line: AuditLine) -> str:
    """Say what was asked for."""
    return ", ".join(f"{name}={_told(value)}" for name, value in line.asked.items())


def _table(found: Sequence[AuditLine]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("at (UTC)", "who", "from", "operation", "count", "asked"):
        table.add_column(heading, overflow="fold")
    for line in found:
        at = (
            datetime.fromtimestamp(line.at, UTC).isoformat(sep=" ", timespec="seconds").removesuffix("+00:00")
        )
        cells = (at, line.who, line.way, line.operation, count_of(line), asked_of(line))
        table.add_row(*(Text(printable(" ".join(cell.split()))) for cell in cells))
    return table


def _told(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
