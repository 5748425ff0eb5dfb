"""The command ``replay``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from deedbox.ops.cli._options import EXAMPLE_ACTION, EXAMPLE_ID, REPAIR, DryRun, Json, Yes
from deedbox.ops.wording.times import SYNTAX
from deedbox.shared.audit import AuditedOperation
from deedbox.shared.core.errors import SettingsError

if TYPE_CHECKING:
    from deedbox.ops.installation import Installation
    from deedbox.ops.repair.replay_plan import ReplayPlan
    from deedbox.shared.records.replay_order import ReplayOrder


Request = Annotated[
    str, typer.Argument(metavar="[ID]", help="A signature_request_id, or a key such as template/c26b8a16.")
]
Actions = Annotated[
    list[str] | None, typer.Option(metavar="NAME", help="Action to run again; may be repeated.")
]
Since = Annotated[str, typer.Option(metavar="TIME", help=f"Events that arrived since then: {SYNTAX}.")]
Until = Annotated[str, typer.Option(metavar="TIME", help="Events that arrived before then; default: now.")]
OfType = Annotated[
    str, typer.Option("--type", metavar="TYPE", help="Only this event type, or a prefix such as 'deedbox.*'.")
]
Tenant = Annotated[
    str, typer.Option(metavar="NAME", help="The tenant. Default: `default` for an ID, every one for a time.")
]
Resume = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Continue replay N, which was interrupted.")
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        rich_help_panel=REPAIR,
        epilog=f"Examples: [bold]deedbox replay {EXAMPLE_ID} --action {EXAMPLE_ACTION}[/bold], "
        f"[bold]deedbox replay --since 2h --action {EXAMPLE_ACTION} --type 'signature_request_*' --dry-run[/bold].",
    )(replay)


def replay(  # noqa: PLR0913 - one parameter per option
    request: Request = "",
    *,
    action: Actions = None,
    since: Since = "",
    until: Until = "",
    event_type: OfType = "",
    source: Tenant = "",
    resume: Resume = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Run chosen actions again on the stored events of one signature request, or of a span of time.

    Events are kept for DEEDBOX_EVENT_RETENTION_DAYS. They go to the ends of the actions' queues in event order. Only actions that subscribe to their type get them.

    Actions see context.replay, and event.late where later events were already passed on. Their idempotency key ends in :replay-N; N is the number of the replay. An action that obeys its key does its work once per replay.

    After an interruption, --resume N continues and queues nothing twice. Started again without it, it is another replay. A span of time reads the index of requests from its beginning on, and delays no other work.
    """
    from deedbox.ops.cli._terminal import auditing, confirm, demand_decision, progress
    from deedbox.ops.installation import Installation
    from deedbox.ops.repair.catalog import choose, learned
    from deedbox.ops.repair.replay import Replayer
    from deedbox.ops.wording import replay_page
    from deedbox.ops.wording.output import write_json

    demand_decision(as_json=as_json, dry_run=dry_run, yes=yes)
    installation = Installation.load(os.environ)
    replayer = Replayer(installation.scripts, installation.bells.ring, installation.settings.retention)
    if resume is None:
        order = _order(installation, action or [], request, source, event_type, (since, until))
    elif any((request, action, since, until, event_type, source)):
        raise SettingsError("--resume continues with what was asked for then; give it alone.")
    else:
        order = replayer.unfinished(resume)
    actions = choose(learned(os.environ), order.actions)
    with progress() as tell:
        plan = replayer.plan(order, actions, tell, number=resume or 0)
    runs = sum(plan.runs.values())
    if not as_json:
        replay_page.write_plan(plan)
    elif dry_run or not (runs or resume):
        write_json({"plan": plan.document(), "done": None})
    # What is left of an interrupted replay may be nothing: carried out all the same, it is over.
    question = f"Queue {runs}?" if runs else "Nothing is left of it. Forget it?"
    if dry_run or not ((runs or resume) and confirm(question, yes=yes)):
        return
    started = (lambda _number: None) if as_json else replay_page.write_started
    asked = {**order.asked(), "resume": resume}
    with progress() as tell, auditing(installation).operation(AuditedOperation.REPLAY, **asked) as done:
        tally = replayer.carry_out(plan, tell, started)
        done.count = tally.appended
    if as_json:
        write_json({"plan": plan.document(), "done": tally.document()})
    else:
        replay_page.write_tally(tally, _letters(installation, plan))


def _letters(installation: Installation, plan: ReplayPlan) -> int:
    """Count the dead letters about calls that the replay queued again."""
    from deedbox.ops.repair.deadletters import DeadLetters, Selection

    letters = DeadLetters(installation.scripts)
    return sum(
        f"{letter.source}:{letter.key}" in plan.streams
        for action in plan.actions
        for letter in letters.newest_first(Selection(action=action.name))
    )


def _order(
    installation: Installation,
    actions: list[str],
    request: str,
    source: str,
    event_type: str,
    times: tuple[str, str],
) -> ReplayOrder:
    """Build what a person asked for. Raises SettingsError for too little."""
    from deedbox.ops.cli._options import checked_pattern
    from deedbox.ops.repair.replay_plan import order_of
    from deedbox.ops.wording.times import span

    if not request and not times[0]:
        raise SettingsError("Say which events: the ID of a signature request, or a time with --since.")
    if not actions:
        raise SettingsError("Say which actions run again: --action NAME, which may be repeated.")
    # Fixed from here on, so that what arrives meanwhile stays out, after an interruption too.
    return order_of(actions, request, source, checked_pattern(event_type), span(*times, installation.now()))
