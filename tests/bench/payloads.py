"""The callbacks that are sent: synthetic, correctly signed, the same for every subject.

Bodies come from the simulator. They share more text with each other than real ones do, which would flatter a
compressing receiver; none is measured here. No ``Expect: 100-continue``, which the vendor sends: it would add
the same round trip to each subject.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from typing import Final

from deedbox.shared.simulator.lifecycle import Account, SimulatedCallback, generate_requests
from deedbox.shared.simulator.story import LifecyclePolicy
from deedbox.shared.simulator.wire import multipart_request

API_KEY: Final = "be" * 32
"""Signs every callback of a run; known to nobody else and worth nothing."""

SOURCE_BODIES: Final = 1_500
"""Signature requests that the distinct bodies are made from."""

OPEN_REQUESTS: Final = 120
"""Signature requests under way at a time: callbacks of one request are that far apart."""

_BEGINS_AT: Final = 1_760_000_000
_POLICY: Final = LifecyclePolicy(begins_at=_BEGINS_AT, spread_s=3600, life_s=1800, signers_max=6)
"""Up to six signers give a mean of about 3.1 KB."""


def lifecycles(count: int, seed: int = 7) -> list[bytes]:
    """Return ``count`` JSON texts: whole lives of signature requests, each in order, many of them interleaved.

    Each carries its place in ``signature_request.metadata.n``, so that whoever handles it can name it.
    """
    rng = random.Random(seed)
    texts = (callback.json_text for callback in _interleaved(rng))
    return [_marked(text, place) for place, text in enumerate(islice(texts, count))]


def whole_lives(requests: int, signers_max: int, seed: int = 13) -> list[bytes]:
    """Return the JSON texts of whole signature requests, one after the other."""
    policy = replace(_POLICY, signers_max=signers_max)
    found = generate_requests(requests, Account(API_KEY), random.Random(seed), policy)
    return [callback.json_text for request in found for callback in request.callbacks]


def _interleaved(rng: random.Random) -> Iterator[SimulatedCallback]:
    waiting: deque[Iterator[SimulatedCallback]] = deque()
    while True:
        while len(waiting) < OPEN_REQUESTS:
            (request,) = generate_requests(1, Account(API_KEY), rng, _POLICY)
            waiting.append(iter(request.callbacks))
        following = waiting.popleft()
        callback = next(following, None)
        if callback is not None:
            yield callback
            waiting.append(following)


def _marked(text: bytes, place: int) -> bytes:
    return text.replace(b'"metadata":{}', b'"metadata":{"n":"%d"}' % place, 1)


def distinct(count: int, seed: int = 11) -> Iterator[bytes]:
    """Yield ``count`` JSON texts, each with a signature_request_id of its own. ``event_hash`` does not sign it."""
    rng = random.Random(seed)
    requests = generate_requests(SOURCE_BODIES, Account(API_KEY), rng, _POLICY)
    models = [callback for request in requests for callback in request.callbacks]
    rng.shuffle(models)
    for model in islice(cycle(models), count):
        fresh = f"{rng.getrandbits(160):040x}"
        yield model.json_text.replace(model.signature_request_id.encode(), fresh.encode())


def forged(text: bytes) -> bytes:
    """Return the text with an ``event_hash`` that no key signed."""
    name = b'"event_hash":"'
    head, _, rest = text.partition(name)
    return head + name + b"0" * 64 + rest[64:]


def request_rest(text: bytes) -> bytes:
    """Return a request on the wire from its third header on: everything but request line, Host and Connection."""
    wire = multipart_request(text, API_KEY)
    lines = [f"{name}: {value}\r\n" for name, value in wire.headers.items() if name != "Expect"]
    return "".join(lines).encode() + b"\r\n" + wire.body


def write_file(path: Path, texts: Iterable[bytes]) -> None:
    """Write requests for the load generator: each ``request_rest`` behind its length (4 bytes)."""
    with path.open("wb") as out:
        for text in texts:
            rest = request_rest(text)
            out.write(len(rest).to_bytes(4) + rest)


def read_file(path: Path) -> list[bytes]:
    """Inverse of ``write_file``."""
    data = path.read_bytes()
    found, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4])
        found.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    return found


def mean_bytes(texts: Sequence[bytes]) -> float:
    """Return the mean length of the texts."""
    return sum(map(len, texts)) / len(texts)
