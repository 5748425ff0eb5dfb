"""What a person sees of a demo: progress while it runs, and the report."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from deedbox.ops.demo.report import DemoReport
from deedbox.ops.wording.output import counted


@dataclass(frozen=True, slots=True)
class Places:
    """Where a demo that keeps running is."""

    data_dir: Path
    callbacks: str
    sign_in: str
    """A link to the dashboard."""


SHOWN_DOCUMENTS: Final = 5
_PLAIN_EVERY_S: Final = 2.0


class Meter(Protocol):
    """Shows how far the demo is. Every method may be called from any thread."""

    def phase(self, text: str, total: int | None = None) -> None:
        """Begin a phase of ``total`` steps; None: of unknown length."""

    def step(self, done: int, detail: str = "") -> None:
        """Show how far the phase is."""


class _Bar:
    """A live bar at the foot of a terminal."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=None, detail="")

    def phase(self, text: str, total: int | None = None) -> None:
        # A new task, because a total cannot be taken back to "unknown".
        self._progress.remove_task(self._task)
        self._task = self._progress.add_task(text, total=total, detail="")

    def step(self, done: int, detail: str = "") -> None:
        self._progress.update(self._task, completed=done, detail=detail)


class _Lines:
    """Plain lines, at most one every other second: for files, pipes and logs of CI."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._text, self._said_at = "", 0.0
        self._total: int | None = None

    def phase(self, text: str, total: int | None = None) -> None:
        self._text, self._total = text, total
        self._say(text)

    def step(self, done: int, detail: str = "") -> None:
        if time.monotonic() - self._said_at >= _PLAIN_EVERY_S:
            of = "" if self._total is None else f" {done}/{self._total}"
            self._say(f"{self._text}{of}{f', {detail}' if detail else ''}")

    def _say(self, line: str) -> None:
        self._said_at = time.monotonic()
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def meter(console: Console) -> Iterator[Meter]:
    """Show progress in the way that fits the console."""
    if not console.is_terminal:
        yield _Lines(console)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:<28}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[detail]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield _Bar(progress)


def show(console: Console, report: DemoReport, data_dir: Path) -> None:
    """Print the report for people."""
    console.print(_table(report))
    _show_documents(console, report, data_dir)
    if report.found.restarts:
        names = ", ".join(f"{name} ({count})" for name, count in report.found.restarts.items())
        console.print(f"Ended and started again meanwhile: {names}.", highlight=False)
    for problem in report.problems:
        console.print(f"[red]✗[/red] {problem}.", highlight=False)
    if report.clean:
        console.print(
            f"[green]✓[/green] Nothing lost, nothing doubled, nothing out of order, in {report.found.duration_s:.0f} s.",
            highlight=False,
        )


def _table(report: DemoReport) -> Table:
    table = Table(title=f"Deedbox demo, seed {report.sent.seed}", title_justify="left")
    table.add_column("what happened")
    table.add_column("count", justify="right")
    table.add_column("what it means", style="dim")
    counts = report.sent.counts
    for name, count, meaning in (
        ("signature requests", report.sent.requests, "1 to 4 signers each"),
        ("callbacks sent", counts.sent, f"{counts.attempts} POSTs, retries included"),
        ("acknowledged", counts.acked, "each on disk before the answer left"),
        ("refused", counts.refused, _refused(counts.refused, report.sent.forgeries)),
        ("duplicates", report.duplicates, "the same event again: not dispatched"),
        ("held", report.held, "waited for an earlier event that they show must exist"),
        ("late", report.late, "arrived after a later one: flagged as late"),
        ("action calls", report.found.traces.actions_done, "committed"),
        ("downloads retried", report.sent.put_off, "the API said: not ready yet, or too many calls"),
        ("documents", len(report.documents()), f"of {len(report.sent.documents)} completed requests"),
        ("out of order", report.order_violations, "must be 0"),
        ("dispatched twice", report.twice, "must be 0"),
        ("lost", report.lost, "must be 0"),
    ):
        table.add_row(name, str(count), meaning)
    return table


def _show_documents(console: Console, report: DemoReport, data_dir: Path) -> None:
    documents = report.documents()
    if not documents:
        return
    console.print(f"Documents in {data_dir / 'documents' / 'default'}:", highlight=False, soft_wrap=True)
    for row in documents[:SHOWN_DOCUMENTS]:
        name = f"{row['signature_request_id']}/{row['sha256']}.pdf"
        console.print(f"  {name}", highlight=False, markup=False, soft_wrap=True)
    if len(documents) > SHOWN_DOCUMENTS:
        console.print(f"  … and {len(documents) - SHOWN_DOCUMENTS} more", highlight=False)


def hint(console: Console, report: DemoReport, places: Places, *, keep: bool) -> None:
    """Say what to try next."""
    request_id = next(iter(report.sent.documents), "ID")
    command = _command()
    if keep:
        lines: tuple[str, ...] = (
            f"Everything keeps running until Ctrl-C; callbacks go to {places.callbacks}.",
            f"Dashboard (this link signs you in, once): {places.sign_in}",
            "In another terminal:",
            f"  DEEDBOX_DATA_DIR={places.data_dir} {command} trace {request_id}",
            f"  DEEDBOX_DATA_DIR={places.data_dir} {command} status",
        )
    else:
        lines = (
            f"Next: {command} demo --keep leaves it running, with its dashboard, for {command} status and trace;",
            f"with DEEDBOX_API_KEYS set to your API key, {command} up is the real thing.",
        )
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def so_far(acked: int, refused: int) -> str:
    """Say how the callbacks were answered."""
    return f"{acked} acknowledged, {counted(refused, 'forged one')} refused"


def _refused(refused: int, forgeries: int) -> str:
    forged = counted(forgeries, "forged one")
    return f"all {forged}" if refused == forgeries else f"of {forged}"


def _command() -> str:
    """Return how this command is called here: by its name only if the shell finds it."""
    own = Path(sys.argv[0])
    found = shutil.which("deedbox")
    return str(own) if own.name == "deedbox" and (found is None or not own.samefile(found)) else "deedbox"
