"""What a drainer of the inbox has leased: a shard, and the oldest entries that lie in it."""

from __future__ import annotations

from dataclasses import dataclass

from deedbox.shared.core.envelope import decode_inbox
from deedbox.shared.core.errors import Undecodable


@dataclass(frozen=True, slots=True)
class ShardClaim:
    """What one claim returned."""

    shard: str
    token: str
    now: float
    entries: list[bytes]
    due: list[bytes]
    """Streams whose holds may be over."""
    more: bool = False
    """Whether entries stay in the shard behind these."""

    @property
    def number(self) -> int:
        """The shard's number; -1 for a name that is none."""
        return int(self.shard) if self.shard.isdecimal() else -1

    @property
    def judged_at(self) -> float:
        """Time at which holds are judged. With a backlog behind this batch: when its last callback was appended.

        What a held event waits for may lie in the backlog; judged by the clock on the wall, an hour's backlog
        would be released as expired.
        """
        if not (self.more and self.entries):
            return self.now
        try:
            return min(self.now, decode_inbox(self.entries[-1])[0])
        except Undecodable:
            return self.now
