"""The sections that do not interleave, as they compare no subjects in rounds: each is a module with its own tables.

Such a module has a ``NAME`` and ``run(*, quick, out, console)``, which returns what goes into the results. Nothing is
measured here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from rich.console import Console

from tests.bench.processes import BenchError
from tests.bench.targets import Verdict

GROWTH: Final = "growth"
DELAY: Final = "delay"
ORDER: Final = "order"
ENCRYPTION: Final = "encryption"
IDLE: Final = "idle"
KEPT: Final = "kept"
OPERATIONS: Final = "operations"
NAMES: Final = (GROWTH, DELAY, ORDER, ENCRYPTION, IDLE, KEPT, OPERATIONS)

Results = dict[str, dict[str, Any]]


def run(
    sections: Sequence[str], *, quick: bool, out: Path, console: Console
) -> tuple[Results, list[Verdict], list[str]]:
    """Run those that were asked for. Returns their results by name, their verdicts, and what went wrong."""
    if not set(sections) & set(NAMES):
        return {}, [], []
    # They plot; only the benchmark's own extra has matplotlib, and the tests of this file do without.
    from tests.bench import delay, encryption, growth, idle, kept, operations, order

    results: Results = {}
    verdicts: list[Verdict] = []
    troubles: list[str] = []
    for module in (growth, delay, order, encryption, idle, kept, operations):
        if module.NAME not in sections:
            continue
        try:
            found = module.run(quick=quick, out=out, console=console)
        except BenchError as error:
            troubles.append(f"{module.NAME}: {error}")
            continue
        results[module.NAME] = found
        verdicts += VERDICTS[module.NAME](found)
        troubles += [f"{module.NAME}: {trouble}" for trouble in found.get("troubles", ())]
    return results, verdicts, troubles


def growth_verdicts(found: dict[str, Any]) -> list[Verdict]:
    """Hold the largest cost per event against the smallest case's."""
    bounds = found["flat_within"]
    return [
        Verdict(
            f"cost per event over {series}, {stage}, largest / first case",
            f"at most {bounds[series]:g}",
            f"{factor:.2f}",
            factor <= bounds[series],
        )
        for series, stages in found["growth"].items()
        for stage, factor in stages.items()
    ]


def delay_verdicts(found: dict[str, Any]) -> list[Verdict]:
    """Hold Deedbox's round trips per event, with the delay, against their bound."""
    ours = [run for run in found["runs"] if run["subject"].startswith("Deedbox") and run["delay_ms"]]
    if not ours:
        return []
    turns, bound = median(run["turns_per_event"] for run in ours), found["target_turns_per_event"]
    return [
        Verdict("round trips to Redis per event, backlog", f"below {bound:g}", f"{turns:.3f}", turns < bound)
    ]


def operations_verdicts(found: dict[str, Any]) -> list[Verdict]:
    """Hold what operators do against both goals: Redis's longest call, and ingress beside it."""
    from tests.bench import operations

    return operations.verdicts(found)


def order_verdicts(found: dict[str, Any]) -> list[Verdict]:
    """Say in how many of the provable traffics the target is met."""
    target = found["target"]
    cells, met = target["cells"], target["met"]
    return [
        Verdict(
            "order on provable traffic, cells that meet the target", f"all {cells}", f"{met}", met == cells
        )
    ]


def idle_verdicts(found: dict[str, Any]) -> list[Verdict]:
    """Hold the memory of an idle ``up`` and its start against their bounds."""
    memory, start = found["idle_mb"], median(found["ready_s"])
    memory_max, start_max = found["target_mb"], found["target_ready_s"]
    return [
        Verdict("PSS of an idle `up`, MB", f"at most {memory_max}", f"{memory:.0f}", memory <= memory_max),
        Verdict(
            "start of `up` until /readyz, s", f"at most {start_max:g}", f"{start:.2f}", start <= start_max
        ),
    ]


def kept_verdicts(found: dict[str, Any]) -> list[Verdict]:
    """Hold the Redis bytes of a stored event against their bounds."""
    return [
        Verdict(f"Redis bytes per kept event, {form}", f"at most {bound}", f"{found[form]:.0f}", found[form] <= bound)
        for form, bound in found["targets"].items()
    ]  # fmt: skip


VERDICTS: Final[dict[str, Callable[[dict[str, Any]], list[Verdict]]]] = {
    GROWTH: growth_verdicts,
    DELAY: delay_verdicts,
    ORDER: order_verdicts,
    OPERATIONS: operations_verdicts,
    ENCRYPTION: lambda _found: [],  # no goal: it says what a choice costs
    IDLE: idle_verdicts,
    KEPT: kept_verdicts,
}
