"""The one RQ entry point. The process's composition root has set what it works with."""

from __future__ import annotations

import deedbox.workers.process as root


def drain(lane: str) -> None:
    """Answer a doorbell: drain the lane for about two seconds."""
    root.current().lease(lane)
