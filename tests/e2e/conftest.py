"""The command as a fixture, so that nothing outlives a failed test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.running import Running

Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return a function that starts ``deedbox`` with these arguments in ``tmp_path``."""
    started: list[Running] = []

    def begin(*arguments: str, **settings: str) -> Running:
        started.append(Running(tmp_path, *arguments, **settings))
        return started[-1]

    yield begin
    for running in started:
        running.close()
