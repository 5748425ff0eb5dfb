"""A number of the capacity page, and the table that holds them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One number, with the command that measures it."""

    name: str
    value: float
    unit: str
    command: str
    digits: int = 0


def markdown(figures: Iterable[Figure]) -> str:
    """Return the figures as the rows of a Markdown table."""
    rows = [
        f"| {each.name} | {each.value:,.{each.digits}f} | {each.unit} | `{each.command}` |"
        for each in figures
    ]
    return "\n".join(["| figure | value | unit | command |", "|---|---|---|---|", *rows])
