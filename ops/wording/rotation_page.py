"""What ``deedbox rotate-keys`` and the check of the key ring say, for people."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from deedbox.ops.wording.output import counted, write_line

if TYPE_CHECKING:  # what it imports may not be installed
    from deedbox.ops.repair.rotation import Rotation


def write(found: Rotation) -> None:
    """Say what was done, what is left, and which keys may be removed."""
    write_line(
        f"Under the current key {found.current} now: {counted(found.rewrapped, 'key')} of requests, and "
        f"{counted(found.documents, 'key')} of documents more than before."
    )
    for name, count in found.waiting.items():
        write_line(f"  {counted(count, 'callback')} under key {name} wait; run this again when none does.")
    for place in found.unseen:
        write_line(f"  There are {place}, which cannot be looked into; run this again when there are none.")
    if found.damaged:
        write_line(f"  {counted(found.damaged, 'wrapped key')} cannot be opened: damaged.")
    for name in found.removable:
        write_line(
            f"Nothing is encrypted under the key {name}: remove it from DEEDBOX_ENCRYPTION_KEYS, or put it first if it is new."
        )


def missing(names: Iterable[str]) -> str:
    """Say which keys the ring lacks."""
    return (
        f"Stored data needs the encryption key {', '.join(sorted(names))}, which is not in DEEDBOX_ENCRYPTION_KEYS; "
        "put it back behind the current one, and run `deedbox rotate-keys` before it is removed."
    )
