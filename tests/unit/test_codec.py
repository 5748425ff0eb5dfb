from __future__ import annotations

import hashlib
import random
import threading
from importlib.resources import files

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from deedbox.shared import codec
from deedbox.shared.broker.message import BODY_LIMIT_BYTES
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.errors import Undecodable
from deedbox.shared.core.signature import BodySignature
from deedbox.shared.simulator.lifecycle import Account, generate_requests
from deedbox.shared.simulator.story import LifecyclePolicy

ENVELOPE = Envelope("default", 1.5, BodySignature.VALID, "a" * 32, b'{"event":{"event_type":"x"}}' * 20)


@given(st.binary(max_size=5000))
@settings(max_examples=200, deadline=None)
def test_every_body_comes_back_as_it_was(body: bytes) -> None:
    assert codec.decode(*codec.encode(body)) == body


def test_a_callback_becomes_a_fifth_of_its_size() -> None:
    requests = generate_requests(20, Account("k" * 64), random.Random(3), LifecyclePolicy(1_700_000_000))
    bodies = [each.json_text for request in requests for each in request.callbacks]
    small = [codec.encode(body)[1] for body in bodies]
    assert sum(map(len, small)) * 5 < sum(map(len, bodies))


def test_what_does_not_shrink_is_left_alone() -> None:
    noise = hashlib.shake_256(b"noise").digest(500)
    assert codec.encode(noise) == ("", noise)
    assert codec.encode(b"{}") == ("", b"{}")


def test_every_dictionary_stays_what_it_was() -> None:
    """Another one under the same number would make everything that was stored unreadable."""
    folder = files("deedbox.shared") / "dictionaries"
    assert {each.name: hashlib.sha256(each.read_bytes()).hexdigest() for each in folder.iterdir()} == DIGESTS


DIGESTS = {
    "callbacks-1.zstd-dict": "40ceacf49bb1d9150c1fbb3d1277eda382dc63e9685300d49e50ed32be793c32",
    "records-1.zstd-dict": "13018538976aa9812d8bff76bddc63e88d9b7e54ad30acbf251e3f34c07977f3",
}


@pytest.mark.parametrize("name", ["zstd-0", "zstd-999", "gzip"])
def test_a_codec_of_another_version_is_undecodable(name: str) -> None:
    with pytest.raises(Undecodable):
        codec.decode(name, b"data")


@pytest.mark.parametrize(
    "body", [ENVELOPE.body, ENVELOPE.body[:64], b"x" * 5000], ids=["long", "short", "one byte"]
)
def test_damage_of_any_one_byte_is_found_or_without_effect(body: bytes) -> None:
    """Law: whichever byte becomes whichever other, the body is the one that was encoded or none."""
    name, packed = codec.encode(body)
    assert name == codec.CODEC
    for at, byte in enumerate(packed):
        for other in set(range(256)) - {byte}:
            try:
                found = codec.decode(name, packed[:at] + bytes([other]) + packed[at + 1 :])
            except Undecodable:
                continue
            assert found == body, (at, other)  # a frame has a few bits that mean nothing


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_what_was_never_encoded_is_undecodable(data: bytes) -> None:
    with pytest.raises(Undecodable):
        codec.decode(codec.CODEC, data)


def test_a_body_that_says_it_is_enormous_is_not_unpacked() -> None:
    claim = zstandard.ZstdCompressor(level=1).compressobj(size=BODY_LIMIT_BYTES + 1)
    with pytest.raises(Undecodable):
        codec.decode(codec.CODEC, claim.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))


def test_packing_twice_is_packing_once() -> None:
    packed = codec.packed(ENVELOPE)
    assert packed.codec == codec.CODEC
    assert codec.packed(packed) is packed
    assert codec.body_of(packed) == codec.body_of(ENVELOPE) == ENVELOPE.body


def test_a_packed_envelope_travels_in_every_form() -> None:
    packed = codec.packed(ENVELOPE)
    assert Envelope.unpack(packed.pack()) == packed
    assert Envelope.from_headers(packed.headers(), packed.body) == packed


def test_threads_do_not_share_what_is_not_safe_to_share() -> None:
    bodies = [b'{"event":%d}' % number * 50 for number in range(40)]
    wrong: list[int] = []

    def work() -> None:
        wrong.extend(1 for body in bodies * 20 if codec.decode(*codec.encode(body)) != body)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


_WORDS = st.one_of(
    st.none(), st.text(max_size=70), st.binary(min_size=16, max_size=16).map(bytes.hex), st.just("AB" * 16)
)


@given(st.lists(_WORDS, min_size=3, max_size=3), st.integers(0, 2**53))
def test_a_row_is_read_as_it_was_packed_whether_its_ids_are_ids_or_not(
    ids: list[str | None], number: int
) -> None:
    row = ["a", *ids, number]
    assert codec.unpack_row(codec.pack_row(row, (1, 2, 3)), 4096, (1, 2, 3)) == row
