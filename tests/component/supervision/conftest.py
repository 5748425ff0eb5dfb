"""The rig as a fixture, so that nothing outlives a failed test."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.component.supervision.rig import Rig

Start = Callable[..., Rig]


@pytest.fixture(autouse=True)
def hangups() -> Iterator[None]:
    """Let programs hear SIGHUP, also if these tests themselves run under ``nohup``: they would inherit that it is ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


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
