"""What the texts of the Lua scripts show: no script reads, or frees, as much as somebody happened to store."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Final

WHOLE_IN_SCRIPTS: Final = {
    ("ZREMRANGEBYSCORE", "lane_key(lane, 'idle')"),
    ("ZREMRANGEBYSCORE", "P .. 'bridge:leases'"),
    ("HGETALL", "P .. 'paused'"),
    ("HGETALL", "P .. 'limits'"),
    ("HGETALL", "P .. 'event:' .. fingerprint"),
    ("HGETALL", "finds"),
    ("HGETALL", "live"),
    ("HKEYS", "P .. 'queued:' .. stream"),
    ("HKEYS", "P .. 'finds:' .. stream"),
    ("LRANGE", "other"),
    ("LRANGE", "queue"),
}
"""What scripts read, or free, without a limit: as much as there are processes, pauses, actions, or fields of one thing.
``other`` and ``queue``: the shorter of two queues, after a look at its length."""


def test_no_script_reads_or_frees_a_range_without_a_limit() -> None:
    call = re.compile(
        r"(?:redis\.call\(|surely\(now, )'(ZREMRANGEBYSCORE|ZREMRANGEBYLEX|SMEMBERS|SUNION|HGETALL|HKEYS|HVALS|KEYS|SCAN|SORT)', ((?:[^,()]|\([^()]*\))+)"
    )
    folder = files("deedbox.shared.redis") / "scripts"
    sources = [each.read_text("utf-8") for each in folder.iterdir() if each.name.endswith(".lua")]
    found = {(name, key.strip()) for source in sources for name, key in call.findall(source)}
    whole = re.compile(r"'(LRANGE|ZRANGE|ZREVRANGE)', ([^,]+), 0, -1\)")
    found |= {pair for source in sources for pair in whole.findall(source)}
    assert found == WHOLE_IN_SCRIPTS
