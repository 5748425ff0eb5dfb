"""What must be empty once a schedule has come to rest."""

from __future__ import annotations

from typing import Final

from deedbox.shared.redis import keys
from tests.simulation.acts import TEMPERS
from tests.simulation.doubles import SHARDS
from tests.simulation.server import Server

_MUST_BE_EMPTY: Final = (
    keys.RAW_QUEUE,
    keys.HELD,
    keys.GAPS_DUE,
    keys.PAUSED,
    *(f"{keys.PREFIX}wake:{shard}" for shard in range(SHARDS)),
    *(keys.inbox(shard) for shard in range(SHARDS)),
    *(keys.shards(part) for part in ("ready", "leased", "tokens")),
    *(
        keys.action(name, part)
        for name in TEMPERS
        for part in ("ready", "leased", "tokens", "waiting", "parked")
    ),
)
_AS_BYTES: Final = frozenset(name.encode() for name in _MUST_BE_EMPTY)


def left(server: Server) -> dict[str, int]:
    """Return what is not worked off: sizes of lists and sets that must be empty at the end."""
    names = [*_MUST_BE_EMPTY, *server.names("queue:*"), *server.names("bridge:claimed:*")]
    sizes = {name: server.size(name) for name in names}
    sizes[keys.DEPTHS] = sum(map(int, server.execute("HVALS", keys.DEPTHS)))
    return {name: size for name, size in sizes.items() if size}


def nothing_left(server: Server) -> bool:
    """Tell whether everything is worked off. Asked often: the names that never change first."""
    return server.has_none_of(_AS_BYTES) and not left(server)
