"""The commands ``dead list``, ``show``, ``redrive``, ``discard`` and ``collect``."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Final

import typer

from deedbox.ops.cli._options import EXAMPLE_ACTION, REPAIR, DryRun, Filters, Json, Yes, filtered
from deedbox.shared.audit import AuditedOperation
from deedbox.shared.core.errors import DeedboxError, SettingsError

if TYPE_CHECKING:
    from deedbox.ops.installation import Installation
    from deedbox.ops.repair.deadletters import DeadLetters, Selection

HINT_LETTERS: Final = 1000
"""Letters that are looked at for the names of actions."""

Ids = Annotated[list[str] | None, typer.Argument(metavar="ID", help="Ids, as `dead list` shows them.")]
Every = Annotated[bool, typer.Option("--all", help="Every dead letter.")]

# Imports inside the commands: they cost what `deedbox worker` and the others do not need.


def register(app: typer.Typer) -> None:
    """Add the commands."""
    dead = typer.Typer(
        no_args_is_help=True,
        help="List dead letters (work that was set aside), show one, run them again, or discard them.",
    )
    dead.command(
        "list",
        epilog="Examples: [bold]deedbox dead list --reason attempts_exhausted[/bold], "
        f"[bold]deedbox dead list --action {EXAMPLE_ACTION} --since 2h[/bold].",
    )(listing)
    dead.command("show", epilog="Example: [bold]deedbox dead show 17[/bold].")(show)
    dead.command(
        "redrive",
        epilog="Examples: [bold]deedbox dead redrive 17 18[/bold], "
        f"[bold]deedbox dead redrive --action {EXAMPLE_ACTION} --since 3h --dry-run[/bold].",
    )(redrive)
    dead.command(
        "discard",
        epilog="Examples: [bold]deedbox dead discard 17[/bold], "
        "[bold]deedbox dead discard --reason event_missing --yes[/bold].",
    )(discard)
    dead.command("collect", epilog="Example: [bold]deedbox dead collect --dry-run[/bold].")(collect)
    app.add_typer(dead, name="dead", rich_help_panel=REPAIR)


@filtered
def listing(
    *,
    filters: Filters,
    limit: Annotated[int, typer.Option(min=1, help="Show at most this many.")] = 50,
    as_json: Json = False,
) -> None:
    """List the dead letters, newest first."""
    from itertools import islice

    from deedbox.ops.installation import Installation
    from deedbox.ops.repair.deadletters import DeadLetters
    from deedbox.ops.wording import letters_page
    from deedbox.ops.wording.output import without_addresses, write_json

    installation = Installation.load(os.environ)
    letters = DeadLetters(installation.scripts)
    found = list(islice(letters.newest_first(filters.selection(installation)), limit))
    total = letters.count()
    if as_json:
        rows = [letter.document() for letter in found]
        write_json({"total": total, "letters": without_addresses(rows)})
    else:
        letters_page.write_list(found, total, limited=len(found) == limit)
        if not found:
            _hint(installation, letters, filters)


def show(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="As `dead list` shows it.")],
    *,
    raw: Annotated[
        bool, typer.Option("--raw", help="The callback's body too, unmasked: it names signers.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show one dead letter with its traceback."""
    from deedbox.ops.cli._terminal import auditing
    from deedbox.ops.installation import Installation
    from deedbox.ops.repair.deadletters import DeadLetters, Selection
    from deedbox.ops.wording import letters_page
    from deedbox.ops.wording.output import write_json

    installation = Installation.load(os.environ)
    letters = DeadLetters(installation.scripts)
    [letter] = letters.select(Selection(ids=(letter_id,)))
    document = letters_page.details(letter, letters.traceback(letter), masking=not raw)
    if raw:
        with auditing(installation).operation(AuditedOperation.SHOW_PAYLOAD, letter=letter.id) as done:
            document["raw"] = (letters.body(letter) or b"").decode("utf-8", "backslashreplace")
            done.count = 1
    if as_json:
        write_json(document)
    else:
        letters_page.write_details(document)


@filtered
def redrive(
    ids: Ids = None,
    *,
    filters: Filters,
    every: Every = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Run dead letters again. Failed calls go to the end of their queue; undelivered messages go back to the bridge.

    Only the failed action runs again. Its attempt count starts again; the idempotency key stays the same. Several
    letters go in the order of their events.
    """
    from deedbox.ops.cli._terminal import auditing, confirm, demand_decision, progress
    from deedbox.ops.installation import Installation
    from deedbox.ops.repair.deadletters import DeadLetters
    from deedbox.ops.repair.redrive import Redriver
    from deedbox.ops.wording import letters_page
    from deedbox.ops.wording.output import write_json

    demand_decision(as_json=as_json, dry_run=dry_run, yes=yes)
    installation = Installation.load(os.environ)
    chosen = _selection(ids or (), filters.selection(installation), every=every)
    retention = installation.settings.retention
    redriver = Redriver(installation.scripts, installation.bells.ring, retention)
    letters = DeadLetters(installation.scripts, retention)
    plan = redriver.plan(letters.select(chosen))
    if not as_json:
        letters_page.write_plan(plan)
        if not (plan.steps or plan.refused):
            _hint(installation, letters, filters)
    elif dry_run or not plan.steps:
        write_json({"plan": plan.document(), "done": None})
    if dry_run or not (plan.steps and confirm(f"Redrive {len(plan.steps)}?", yes=yes)):
        raise typer.Exit(1 if plan.refused and not plan.steps else 0)
    with (
        progress() as tell,
        auditing(installation).operation(AuditedOperation.REDRIVE, **chosen.asked()) as done,
    ):
        tally = redriver.carry_out(plan, tell)
        done.count = tally.redriven
    if as_json:
        write_json({"plan": plan.document(), "done": tally.document()})
    else:
        letters_page.write_tally(tally)
    if tally.refused and chosen.ids:
        raise DeedboxError("Not every letter that was named could be redriven.")


@filtered
def discard(
    ids: Ids = None,
    *,
    filters: Filters,
    every: Every = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Remove dead letters. This cannot be undone: their calls will never run."""
    from deedbox.ops.cli._terminal import auditing, confirm, demand_decision, progress
    from deedbox.ops.installation import Installation
    from deedbox.ops.repair.deadletters import DeadLetters
    from deedbox.ops.wording import letters_page
    from deedbox.ops.wording.output import counted, write_json, write_line

    demand_decision(as_json=as_json, dry_run=dry_run, yes=yes)
    installation = Installation.load(os.environ)
    chosen = _selection(ids or (), filters.selection(installation), every=every)
    letters = DeadLetters(installation.scripts, installation.settings.retention)
    found = letters.select(chosen)
    plan = {"letters": [letter.id for letter in found]}
    if not as_json:
        letters_page.write_summary(found, "to discard")
        if not found:
            _hint(installation, letters, filters)
    elif dry_run or not found:
        write_json({"plan": plan, "done": None})
    if dry_run or not found or not confirm(f"Discard {len(found)}? This cannot be undone.", yes=yes):
        return
    with (
        progress() as tell,
        auditing(installation).operation(AuditedOperation.DISCARD, **chosen.asked()) as done,
    ):
        done.count = removed = letters.discard(found, tell)
    if as_json:
        write_json({"plan": plan, "done": {"discarded": removed}})
    else:
        write_line(f"Discarded {counted(removed, 'dead letter')}.")


def collect(*, dry_run: DryRun = False, yes: Yes = False, as_json: Json = False) -> None:
    """Turn messages that RabbitMQ or SQS gave up delivering into dead letters; `dead redrive` then sends them back.

    The broker puts a message that no bridge acknowledged in 20 deliveries into its dead-letter queue.
    """
    from deedbox.ops.cli._terminal import auditing, confirm, demand_decision
    from deedbox.ops.installation import Installation
    from deedbox.ops.repair.collect import collect as run
    from deedbox.ops.wording.output import counted, write_json, write_line

    demand_decision(as_json=as_json, dry_run=dry_run, yes=yes)
    installation = Installation.load(os.environ)
    broker = installation.broker
    depth = broker.dead_depth()
    if not as_json:
        write_line(f"{counted(depth, 'message')} in the broker's dead-letter queue.")
    moved = 0
    if depth and not dry_run and confirm(f"Make dead letters of {depth}?", yes=yes):
        with auditing(installation).operation(AuditedOperation.COLLECT) as done:
            done.count = moved = run(broker, installation.scripts)
    if as_json:
        write_json({"found": depth, "collected": moved})
    elif moved:
        write_line(f"{counted(moved, 'dead letter')} filed; `deedbox dead list` shows them.")


def _hint(installation: Installation, letters: DeadLetters, filters: Filters) -> None:
    """Say which action was meant, where a filter matched nothing because no letter has an action of that name."""
    from itertools import islice

    from deedbox.ops.repair.deadletters import Selection
    from deedbox.ops.wording.action_names import meant
    from deedbox.ops.wording.output import write_line
    from deedbox.shared.records.subscriptions import announced

    if not filters.action:
        return
    lanes = announced(installation.redis).lanes
    actions = {each.action for each in islice(letters.newest_first(Selection()), HINT_LETTERS)}
    actions |= {action for names in lanes.values() for action in names}
    if filters.action not in actions and (sentence := meant(filters.action, actions, lanes)):
        write_line(sentence)


def _selection(ids: Iterable[str], filters: Selection, *, every: bool) -> Selection:
    """Build the selection of a command that changes something: it must be said which letters.

    Raises SettingsError for none or a contradiction.
    """
    chosen = tuple(dict.fromkeys(ids))
    if not (chosen or filters.narrow or every):
        raise SettingsError(
            "Say which dead letters: their ids, a filter such as --reason or --since, or --all."
        )
    if chosen and (filters.narrow or every):
        raise SettingsError("Give either ids, or filters and --all; not both.")
    return replace(filters, ids=chosen)
