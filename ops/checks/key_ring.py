"""The check that the key ring can open what is stored."""

from __future__ import annotations

from collections.abc import Iterator

from redis.exceptions import RedisError

from deedbox.ops.checks.finding import Finding, failed, ok, warning
from deedbox.ops.installation import Installation
from deedbox.ops.wording import rotation_page
from deedbox.ops.wording.output import counted
from deedbox.shared.redis import keys
from deedbox.shared.redis.scripting import text

NAME = "encryption"


def check(installation: Installation) -> Iterator[Finding]:
    """Compare the ring with the keys that were used."""
    settings = installation.settings
    try:
        used = {text(name) for name in installation.redis.hkeys(keys.RING_KEYS)}
    except RedisError:
        return  # reported by the check of the server
    if not settings.encryption_ring:
        if used:
            yield failed(NAME, rotation_page.missing(used))
        return
    from deedbox.shared.sealing.key_ring import key_id

    ring = [key_id(key) for key in settings.encryption_ring]
    if lacking := used - set(ring):
        yield failed(NAME, rotation_page.missing(lacking))
        return
    if len(ring) > 1:
        yield warning(
            NAME, f"the ring has {counted(len(ring), 'key')}; the current one is {ring[0]}",
            "when every process has this ring: `deedbox rotate-keys`, then remove the keys that it names",
        )  # fmt: skip
        return
    yield ok(NAME, f"what is stored is encrypted; the current key is {ring[0]}")
