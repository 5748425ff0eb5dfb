"""Whether hosts store documents in one place: a store that another host cannot read hides them from its people."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Final

from deedbox.ops.checks.finding import Finding, failed, ok, warning
from deedbox.ops.installation import Installation
from deedbox.shared.core.errors import DeedboxError
from deedbox.shared.documents import StoreMark, StoreMarks

NAME: Final = "document stores"
FIX: Final = "set DEEDBOX_DOCUMENTS_URL of all hosts that run workers or ops to one bucket, or to one directory that they mount"


def check(installation: Installation) -> Iterator[Finding]:
    """Compare this host's store with those in which documents were stored."""
    try:
        marks = StoreMarks(installation.redis).all()
        own = installation.documents.mark_here()
    except DeedboxError:
        return  # the checks of Redis and of the store itself say it
    others = [mark for mark in marks if mark.store != own]
    if not others:
        yield ok(NAME, "every document lies in this host's store" if marks else "no document is stored yet")
        return
    told = "; ".join(map(_told, others))
    if {mark.host for mark in others} == {socket.gethostname()}:
        yield warning(NAME, f"this host's store was emptied or moved: {told}", FIX)
    elif len(marks) == 1:
        yield warning(NAME, f"this host cannot read what is stored: {told}", FIX)
    else:
        yield failed(NAME, f"documents lie in {len(marks)} stores, and this host cannot read: {told}", FIX)


def _told(mark: StoreMark) -> str:
    day = time.strftime("%Y-%m-%d", time.gmtime(mark.used_at))
    return f"{mark.host} stored in {mark.path}, last on {day}"
