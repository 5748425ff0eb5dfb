"""What a server was asked for while something worked, by its own account (MONITOR), and whether that has a bound."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from redis import Redis

WHOLE: Final = re.compile(
    r"(?:LRANGE|ZRANGE|ZREVRANGE) (?P<range>\S+) 0 -1\b|(?:HGETALL|HKEYS|HVALS|SMEMBERS) (?P<all>\S+)"
    r"|ZREMRANGEBYSCORE (?P<old>\S+)|(?:ZRANGEBYSCORE|ZREVRANGEBYSCORE|XRANGE|XREVRANGE) (?P<scores>\S+)(?!.* (?:LIMIT|COUNT) )"
    r"|DEL (?P<gone>\S*(?:seen|done|samples|streams)\S*)",
    re.IGNORECASE,
)
"""Commands that read, or free, all of a key at once."""

BOUNDED: Final = re.compile(
    r"(?:deedbox:(?:counters|spools|subscriptions|depths|workers|workers:doing|lost|foreign|foreign_jobs|paused|sources|calls"
    r"|intake|limits|restarts|bridge:leases|bridge:brokers|ring_keys|stores|(?:queued|finds|event|timeline|seen):\S+|lane:\w+:idle"
    r"|queue:new\|\S+)|_kombu\.binding\.\S+)$"
)
"""Keys whose length has a bound of its own. ``seen`` only to be deleted, when an erasure has emptied it; ``queue:new``: a rename
copies the shorter of two queues, if that is short."""

Work = Callable[[], object]


class Asked(NamedTuple):
    """A command that the server ran."""

    text: str
    in_script: bool

    @property
    def name(self) -> str:
        return self.text.partition(" ")[0].upper()


def is_bounded(text: str) -> bool:
    """Return whether a command reads, and frees, a bounded number of things."""
    found = WHOLE.match(text)
    return found is None or all(BOUNDED.match(key) for key in found.groups() if key is not None)


def asked_for(redis: Redis, work: Work) -> list[Asked]:
    """Return every command that the server ran meanwhile."""
    end = "the end of the work"
    with redis.monitor() as monitor:  # type: ignore[no-untyped-call]
        work()
        redis.echo(end)
        found = []
        while (row := monitor.next_command())["command"] != f"ECHO {end}":
            found.append(Asked(row["command"], row["client_type"] == "lua"))
    return found
