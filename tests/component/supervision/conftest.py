"""The rig as a fixture, so that nothing outlives a failed test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.component.supervision.rig import Rig

Start = Callable[..., Rig]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return a function that starts a rig below ``tmp_path``, by default in ``data``."""
    rigs: list[Rig] = []

    def begin(*programs: dict[str, Any], data_dir: Path | None = None, **extra: Any) -> Rig:
        rigs.append(Rig(data_dir or tmp_path / "data", *programs, **extra))
        return rigs[-1]

    yield begin
    for rig in rigs:
        rig.close()
