"""Commands that repair: ``dead list``, ``show``, ``redrive``, ``discard`` and ``collect``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Final

import typer

from deedbox.ops.cli import conflicting, replaying
from deedbox.ops.wording.times import SYNTAX
from deedbox.shared.core.errors import DeedboxError
from deedbox.shared.core.reasons import DeathReason

if TYPE_CHECKING:
    from deedbox.ops.installation import Installation
    from deedbox.ops.repair.deadletters import Selection

PANEL: Final = "Repair"

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Reason = Annotated[DeathReason | None, typer.Option(help="Only letters with this reason.")]
Action = Annotated[str, typer.Option(metavar="NAME", help="Only letters of this action.")]
Type = Annotated[
    str,
    typer.Option("--type", metavar="TYPE", help="Only letters about this event type, or a prefix with *."),
]
Source = Annotated[str, typer.Option(metavar="NAME", help="Only letters of this tenant.")]
Key = Annotated[
    str,
    typer.Option(metavar="ID", help="Only letters of this signature request, or of a key such as template/…"),
]
Since = Annotated[
    str, typer.Option(metavar="TIME", help=f"Only letters that were set aside since then: {SYNTAX}.")
]
Until = Annotated[
    str, typer.Option(metavar="TIME", help="Only letters that were set aside before then; written the same.")
]
Ids = Annotated[list[str] | None, typer.Argument(metavar="ID", help="Ids, as `dead list` shows them.")]
Every = Annotated[bool, typer.Option("--all", help="Every dead letter.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

# Imports inside the commands: they cost what `deedbox worker` and the others do not need.


def register(app: typer.Typer) -> None:
    """Add the commands."""
    dead = typer.Typer(no_args_is_help=True, help="List, show, redrive or discard what was set aside.")
    dead.command(
        "list",
        epilog="Examples: [bold]deedbox dead list --reason attempts_exhausted[/bold], "
        "[bold]deedbox dead list --action crm --since 2h[/bold].",
    )(listing)
    dead.command("show", epilog="Example: [bold]deedbox dead show 17[/bold].")(show)
    dead.command(
        "redrive",
        epilog="Examples: [bold]deedbox dead redrive 17 18[/bold], "
        "[bold]deedbox dead redrive --action crm --since 3h --dry-run[/bold].",
    )(redrive)
    dead.command(
        "discard",
        epilog="Examples: [bold]deedbox dead discard 17[/bold], "
        "[bold]deedbox dead discard --reason event_missing --yes[/bold].",
    )(discard)
    dead.command("collect", epilog="Example: [bold]deedbox dead collect --dry-run[/bold].")(collect)
    app.add_typer(dead, name="dead", rich_help_panel=PANEL)
    replaying.register(app, PANEL)
    conflicting.register(app, PANEL)


def listing(  # noqa: PLR0913 - one parameter per option
    *,
    reason: Reason = None,
    action: Action = "",
    event_type: Type = "",
    source: Source = "",
    key: Key = "",
    since: Since = "",
    until: Until = "",
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
    selection = _filters(installation, reason, action, event_type, source, key, (since, until))
    found = list(islice(letters.newest_first(selection), limit))
    total = letters.count()
    if as_json:
        rows = [letter.document() for letter in found]
        write_json({"total": total, "letters": without_addresses(rows)})
    else:
        letters_page.write_list(found, total, limited=len(found) == limit)


def show(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="As `dead list` shows it.")],
    *,
    raw: Annotated[
        bool, typer.Option("--raw", help="The callback's body too, unmasked: it names signers.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show one dead letter with its traceback."""
    from deedbox.ops.installation import Installation
    from deedbox.ops.repair.deadletters import DeadLetters, Selection
    from deedbox.ops.wording import letters_page
    from deedbox.ops.wording.output import write_json
    from deedbox.shared.redis.inbox import callback_in

    letters = DeadLetters(Installation.load(os.environ).scripts)
    [letter] = letters.select(Selection(ids=(letter_id,)))
    document = letters_page.details(letter, letters.traceback(letter), masking=not raw)
    if raw:
        document["raw"] = callback_in(letters.body(letter) or b"").decode("utf-8", "backslashreplace")
    if as_json:
        write_json(document)
    else:
        letters_page.write_details(document)


def redrive(  # noqa: PLR0913 - one parameter per option
    ids: Ids = None,
    *,
    every: Every = False,
    reason: Reason = None,
    action: Action = "",
    event_type: Type = "",
    source: Source = "",
    key: Key = "",
    since: Since = "",
    until: Until = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Send dead letters back: failed (event, action) pairs to the end of their queue, messages to the bridge.

    Only the failed action runs again, with the same idempotency key. Several go in the order of their events.
    """
    from deedbox.ops.cli import progress
    from deedbox.ops.cli.asking import confirm, demand_decision, selection
    from deedbox.ops.installation import Installation
    from deedbox.ops.repair.deadletters import DeadLetters
    from deedbox.ops.repair.redrive import Redriver
    from deedbox.ops.wording import letters_page
    from deedbox.ops.wording.output import write_json

    demand_decision(as_json=as_json, dry_run=dry_run, yes=yes)
    installation = Installation.load(os.environ)
    filters = _filters(installation, reason, action, event_type, source, key, (since, until))
    chosen = selection(ids or (), filters, every=every)
    retention = installation.settings.retention
    redriver = Redriver(installation.scripts, installation.bells.ring, retention)
    plan = redriver.plan(DeadLetters(installation.scripts, retention).select(chosen))
    if not as_json:
        letters_page.write_plan(plan)
    elif dry_run or not plan.steps:
        write_json({"plan": plan.document(), "done": None})
    if dry_run or not (plan.steps and confirm(f"Redrive {len(plan.steps)}?", yes=yes)):
        raise typer.Exit(1 if plan.refused and not plan.steps else 0)
    with progress.shown() as tell:
        tally = redriver.carry_out(plan, tell)
    if as_json:
        write_json({"plan": plan.document(), "done": tally.document()})
    else:
        letters_page.write_tally(tally)
    if tally.refused and chosen.ids:
        raise DeedboxError("Not every letter that was named could be redriven.")


def discard(  # noqa: PLR0913 - one parameter per option
    ids: Ids = None,
    *,
    every: Every = False,
    reason: Reason = None,
    action: Action = "",
    event_type: Type = "",
    source: Source = "",
    key: Key = "",
    since: Since = "",
    until: Until = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Remove dead letters for good; what they are about is never processed."""
    from deedbox.ops.cli import progress
    from deedbox.ops.cli.asking import confirm, demand_decision, selection
    from deedbox.ops.installation import Installation
    from deedbox.ops.repair.deadletters import DeadLetters
    from deedbox.ops.wording import letters_page
    from deedbox.ops.wording.output import counted, write_json, write_line

    demand_decision(as_json=as_json, dry_run=dry_run, yes=yes)
    installation = Installation.load(os.environ)
    filters = _filters(installation, reason, action, event_type, source, key, (since, until))
    chosen = selection(ids or (), filters, every=every)
    letters = DeadLetters(installation.scripts, installation.settings.retention)
    found = letters.select(chosen)
    plan = {"letters": [letter.id for letter in found]}
    if not as_json:
        letters_page.write_summary(found, "to discard")
    elif dry_run or not found:
        write_json({"plan": plan, "done": None})
    if dry_run or not found or not confirm(f"Discard {len(found)} for good?", yes=yes):
        return
    with progress.shown() as tell:
        removed = letters.discard(found, tell)
    if as_json:
        write_json({"plan": plan, "done": {"discarded": removed}})
    else:
        write_line(f"Discarded {counted(removed, 'dead letter')}.")


def collect(*, dry_run: DryRun = False, yes: Yes = False, as_json: Json = False) -> None:
    """Make dead letters of what RabbitMQ or SQS gave up delivering; `dead redrive` then sends them back.

    The broker puts a message that no bridge acknowledged in 20 deliveries into a dead-letter queue of its own.
    """
    from deedbox.ops.cli.asking import confirm, demand_decision
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
        moved = run(broker, installation.scripts)
    if as_json:
        write_json({"found": depth, "collected": moved})
    elif moved:
        write_line(f"{counted(moved, 'dead letter')} filed; `deedbox dead list` shows them.")


def _filters(
    installation: Installation,
    reason: DeathReason | None,
    action: str,
    event_type: str,
    source: str,
    key: str,
    times: tuple[str, str],
) -> Selection:
    """Build what the filters mean, without ids. Raises SettingsError for one that means nothing."""
    import math

    from deedbox.ops.cli.asking import checked_pattern
    from deedbox.ops.readmodels.timeline import key_of
    from deedbox.ops.repair.deadletters import Selection
    from deedbox.ops.repair.history import History
    from deedbox.ops.wording.times import span

    since, until = 0.0, math.inf
    if any(times):
        since, end = span(*times, History(installation.redis).now())
        until = end if times[1] else math.inf
    return Selection(
        reason=reason or "",
        action=action,
        pattern=checked_pattern(event_type),
        source=source,
        key=key_of(key) if key else "",
        since=since,
        until=until,
    )
