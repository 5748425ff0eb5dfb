"""RQ's job: nothing."""

from __future__ import annotations

from typing import Any

from tests.bench.probe import called


def handle(payload: dict[str, Any]) -> None:
    """Do nothing."""
    called(payload)
