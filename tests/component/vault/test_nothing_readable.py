"""With a key ring, no byte of a title, a name or an address is in anything that Deedbox stores or logs."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deedbox.ingress.receive.ladder import Accepted
from deedbox.ingress.spool.folder import SpoolDir
from deedbox.ingress.spool.writer import Spool
from deedbox.shared import codec
from deedbox.shared.broker.message import encode_kombu
from deedbox.shared.core.signature import BodySignature
from deedbox.shared.redis import keys
from tests.component.vault import rings
from tests.component.vault.rings import MARKER, fill, use, waiting
from tests.component.workers.keyspace import everything
from tests.component.workers.rig import sent
from tests.component.workers.server import RedisServer

pytestmark = pytest.mark.real_redis

PLACES = {"redis", "append-only file", "spool", "broker", "documents"}


def spellings() -> Iterator[bytes]:
    """Yield the marker as it may stand in a file: as it is, and in base64, which has three ways to begin."""
    yield MARKER.encode()
    for lead in range(3):
        text = base64.b64encode(b"\0" * lead + MARKER.encode())
        yield text[(lead * 8 + 5) // 6 : -4]


def readable(data: bytes) -> bool:
    return any(each in data for each in spellings())


def files(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(("ring", "expected"), [((), PLACES), ((rings.OLD,), set())], ids=["off", "on"])
def test_a_marker_is_everywhere_without_a_ring_and_nowhere_with_one(
    fragile: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
    ring: tuple[bytes, ...], expected: set[str],
) -> None:  # fmt: skip
    # Compressed, the marker would hide by itself.
    monkeypatch.setattr(codec, "encode", lambda body: ("", body))
    use(*ring)
    found: dict[str, bytes] = {}

    accepted = Accepted(
        "default", "sent", BodySignature.ABSENT, sent(title=rings.TITLE), "signature_request/r1"
    )
    envelope = accepted.envelope(time.time(), "a" * 32)
    spool = Spool(SpoolDir(tmp_path / "data"), 1 << 30)
    spool.append(envelope, 5)
    found["spool"] = files(tmp_path / "data")  # the log that SQLite writes ahead, too
    spool.close()
    found["spool"] += files(tmp_path / "data")
    found["broker"] = encode_kombu(envelope.headers(), envelope.body)

    with fragile.client() as redis:
        redis.lpush(keys.RAW_QUEUE, encode_kombu(envelope.headers(), envelope.body))
        filled = fill(redis, tmp_path / "documents", "r1", "r2")
        assert filled.deployment.reasons() == ["rejected"] * 4
        waiting(redis, "r3")
        found["redis"] = repr(everything(redis)).encode()
    found["documents"] = files(tmp_path / "documents")
    found["append-only file"] = files(tmp_path / "redis")

    assert {name for name, data in found.items() if readable(data)} == expected
    logged = capfd.readouterr()
    assert not readable((logged.out + logged.err).encode())
