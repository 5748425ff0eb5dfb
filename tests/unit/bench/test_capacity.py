"""The capacity page and the command that makes its figures say the same things."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deedbox.shared.redis import keys
from tests.bench.capacity import FAMILIES, kind_of
from tests.bench.figures import Figure, markdown

PAGE = (Path(__file__).parents[3] / "deploy" / "capacity.md").read_text("utf-8")


def test_a_figure_is_a_row_with_the_command_that_measures_it() -> None:
    row = markdown([Figure("x", 1234.567, "bytes", "python -m y", 1)]).splitlines()[-1]
    assert row == "| x | 1,234.6 | bytes | `python -m y` |"


@pytest.mark.parametrize(
    ("name", "kind"),
    [(keys.event("ab"), "event:"), (keys.seen("s"), "seen:"), (keys.order("s"), "order:"), (keys.timeline("s"), "timeline:")],
)  # fmt: skip
def test_a_key_counts_to_what_it_is_for(name: str, kind: str) -> None:
    assert kind_of(name) == FAMILIES[kind]


def test_a_key_of_no_family_counts_to_the_rest() -> None:
    assert kind_of(keys.EVENTS) == kind_of("other") == "rest"


def test_the_page_names_only_commands_that_exist() -> None:
    for module in set(re.findall(r"python -m (tests\.bench[.\w]*)", PAGE)):
        path = Path(__file__).parents[3] / module.replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()
