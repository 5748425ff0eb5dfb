"""What ``deedbox erase`` says, for people."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deedbox.ops.wording.output import clock, counted, write_line
from deedbox.shared.core.errors import DeedboxError
from deedbox.shared.redis.erasure import ErasureSurvey, Removed
from deedbox.shared.redis.request_keys import Subject


def write_found(subject: Subject, found: ErasureSurvey, *, documents: bool) -> None:
    """Say what would be removed, and what stays."""
    write_line(f"{subject.ordering_key}  (source {subject.source})")
    if found.erased_at is not None:
        write_line(f"  was erased at {clock(found.erased_at)} UTC")
    if not found.in_redis:
        write_line("  nothing of it is left in Redis")
    rows = [
        (counted(found.events, "stored callback"), found.events),
        ("order, dedupe memory, timeline, read model", found.state),
        *((counted(count, "entry", "entries") + f" of {action} in its queue", 1) for action, count in found.queued.items()),
        (f"{counted(len(found.letters), 'dead letter')}: {', '.join(found.letters[:20])}", found.letters),
    ]  # fmt: skip
    for text, there in rows:
        if there:
            write_line(f"  to remove   {text}")
    verb = "to remove" if documents else "stays"
    for file in found.documents:
        write_line(f"  {verb:<10}  {file}")
    if found.documents and not documents:
        write_line("  (--documents removes the files too)")


def demand_writable(path: Path) -> None:
    """Refuse a place where no receipt can be written, before anything is erased. Raises DeedboxError."""
    if str(path) != "-" and (path.exists() or not os.access(path.parent, os.W_OK)):
        raise DeedboxError(f"--receipt: {path} exists, or cannot be written; name a new file.")


def write_receipt(path: Path, receipt: Mapping[str, Any]) -> None:
    """Write what proves an erasure: to a file, or to stdout. A disk that refuses must not lose it."""
    text = json.dumps(receipt, indent=2)
    if str(path) != "-":
        try:
            path.write_text(text + "\n", encoding="utf-8")
        except OSError:
            pass
        else:
            return
    write_line(text)


def write_removed(removed: Removed) -> None:
    """Say what was removed."""
    parts = [
        counted(removed.events, "stored callback"),
        counted(removed.queued, "queue entry", "queue entries"),
        counted(removed.letters, "dead letter"),
        counted(len(removed.documents), "file"),
    ]
    write_line(
        f"Erased: {', '.join(parts)}, and the state. Callbacks that still arrive for it will be ignored."
    )
