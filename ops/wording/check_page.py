"""One finding for people: a line, and the fix below it."""

from __future__ import annotations

from typing import Final

from rich.text import Text

from deedbox.ops.checks.finding import Finding, Verdict
from deedbox.ops.wording.output import console
from deedbox.shared.printable import printable

STYLES: Final = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.FAILED: "bold red"}


def write(finding: Finding) -> None:
    """Write a finding."""
    verdict = Text(f"{finding.verdict:<8}", style=STYLES[finding.verdict])
    out = console()
    out.print(verdict.append(printable(f" {finding.name:<18} {finding.detail}"), style=""), soft_wrap=True)
    if finding.fix:
        out.print(Text(printable(f"{'':<27} -> {finding.fix}")), soft_wrap=True)
