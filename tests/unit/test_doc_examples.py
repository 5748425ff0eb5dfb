"""The Python in the pages about actions and tests runs as it is printed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def namespace(page: str) -> dict[str, Any]:
    """Run the blocks of a page one after the other, as one module."""
    blocks = re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text("utf-8"), re.MULTILINE | re.DOTALL)
    found: dict[str, Any] = {"__name__": page.partition(".")[0]}
    for number, block in enumerate(blocks, 1):
        exec(compile(block, f"{page}, block {number}", "exec"), found)  # noqa: S102 - our own pages
    return found


def examples_in(page: str) -> list[Callable[[], None]]:
    return [each for name, each in namespace(page).items() if name.startswith("test_")]


def test_the_example_of_verifying_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert namespace("mount.md")["found"].trust == "attested"
    assert capsys.readouterr().out.startswith("signature_request_signed")


def test_the_page_has_tests() -> None:
    assert len(examples_in("testing.md")) >= 5


@pytest.mark.parametrize("test", examples_in("testing.md"), ids=lambda test: test.__name__)
def test_the_examples_in_the_page_pass(test: Callable[[], None]) -> None:
    test()
