"""``docs/metrics.md`` as data, and what a scrape exports in the same form."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

TABLE = Path(__file__).parents[2] / "docs" / "metrics.md"
_ROW = re.compile(r"^\| `(deedbox_\w+)` \| (ingress|ops) \| (\w+) \| ([^|]*)\| (.+) \|$", re.MULTILINE)

Shape = dict[str, tuple[str, frozenset[str]]]
"""Name to type and labels."""


def table(where: str) -> Shape:
    """Return the rows of ``ingress`` or ``ops``."""
    return {
        name: (kind, frozenset(re.findall(r"`(\w+)`", labels)))
        for name, place, kind, labels, _ in _ROW.findall(TABLE.read_text("utf-8"))
        if place == where
    }


def exported(text: str) -> Shape:
    """Return the metrics of a scrape that have samples; ``le`` belongs to every histogram."""
    return {
        family.name + ("_total" if family.type == "counter" else ""): (
            family.type,
            frozenset(name for sample in family.samples for name in sample.labels) - {"le"},
        )
        for family in text_string_to_metric_families(text)
        if family.samples
    }
