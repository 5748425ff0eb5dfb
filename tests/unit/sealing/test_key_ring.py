"""What the ring and a data key seal opens under the right key and in its own place, and nowhere else."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deedbox.shared import codec, sealing
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.errors import KeyMissing, SettingsError, Undecodable
from deedbox.shared.core.signature import BodySignature, Origin
from deedbox.shared.sealing import envelopes
from deedbox.shared.sealing.key_ring import DataKey, KeyRing, key_id, sealed_by
from deedbox.shared.settings import Settings

A, B = b"\x01" * 32, b"\x02" * 32
SENT = Envelope("default", 1000.0, BodySignature.ABSENT, "a" * 32, b'{"title": "Lease"}')


@given(st.binary(max_size=300), st.binary(max_size=20))
def test_what_is_sealed_opens_as_it_was(data: bytes, identity: bytes) -> None:
    ring = KeyRing([A, B])
    key = DataKey.new()
    assert ring.open(ring.seal(data, identity), identity) == data
    assert key.open(key.seal(data, identity), identity) == data
    assert DataKey.unwrap(ring, key.wrapped(ring, identity), identity).open(key.seal(data, b""), b"") == data


@given(st.data(), st.binary(min_size=1, max_size=50))
def test_no_changed_bit_opens(drawn: st.DataObject, data: bytes) -> None:
    ring, key = KeyRing([A]), DataKey.new()
    for seal, opened in ((ring.seal, ring.open), (key.seal, key.open)):
        sealed = bytearray(seal(data, b"here"))
        sealed[drawn.draw(st.integers(0, len(sealed) - 1))] ^= 1 << drawn.draw(st.integers(0, 7))
        with pytest.raises(Undecodable):
            opened(bytes(sealed), b"here")


@pytest.mark.parametrize("cut", [0, 1, 4, 12, 19, 20, 31])
def test_no_piece_opens(cut: int) -> None:
    ring, key = KeyRing([A]), DataKey.new()
    with pytest.raises(Undecodable):
        ring.open(ring.seal(b"text", b"")[:cut], b"")
    with pytest.raises(Undecodable):
        key.open(key.seal(b"text", b"")[:cut], b"")


def test_nothing_opens_in_another_place() -> None:
    ring, key = KeyRing([A]), DataKey.new()
    with pytest.raises(Undecodable):
        ring.open(ring.seal(b"text", b"request 1"), b"request 2")
    with pytest.raises(Undecodable):
        key.open(key.seal(b"text", b"request 1"), b"request 2")


def test_the_first_key_seals_and_each_one_opens() -> None:
    sealed = KeyRing([A]).seal(b"text", b"")
    assert sealed_by(sealed) == key_id(A)
    assert KeyRing([B, A]).open(sealed, b"") == b"text"
    anew = KeyRing([B, A]).rewrapped(sealed, b"")
    assert KeyRing([B]).open(anew, b"") == b"text"
    with pytest.raises(KeyMissing, match=key_id(A)):
        KeyRing([B]).open(sealed, b"")


def test_the_same_text_is_never_sealed_to_the_same_bytes() -> None:
    ring, key = KeyRing([A]), DataKey.new()
    assert (
        len({ring.seal(b"text", b"") for _ in range(100)} | {key.seal(b"text", b"") for _ in range(100)})
        == 200
    )


def test_a_callback_is_sealed_once_and_opens_to_the_byte() -> None:
    sealing.install(KeyRing([A]))
    sealed = envelopes.sealed(codec.packed(SENT))
    assert envelopes.sealed(sealed) is sealed
    assert b"Lease" not in sealed.pack()
    assert codec.body_of(sealed) == SENT.body
    assert codec.body_of(Envelope.unpack(sealed.pack())) == SENT.body
    assert envelopes.opened(SENT) is SENT, "what came before there was a ring"


@pytest.mark.parametrize(
    "changed",
    [
        {"source": "other"},
        {"trace_id": "b" * 32},
        {"body_signature": BodySignature.VALID},
        {"origin": Origin.RECONCILED},
    ],
)
def test_a_callback_that_was_given_another_verdict_or_source_does_not_open(
    changed: dict[str, object],
) -> None:
    sealing.install(KeyRing([A]))
    moved = replace(envelopes.sealed(SENT), **changed)  # type: ignore[arg-type]
    with pytest.raises(Undecodable):
        codec.body_of(moved)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("short", "key 1 is not 64 hexadecimal characters"),
        (f"{A.hex()},{'g' * 64}", "key 2 is not 64 hexadecimal characters"),
        (f"{A.hex()},{A.hex()}", "names one key twice"),
        (",", "holds no key"),
    ],
)
def test_a_ring_that_is_none_is_refused_in_a_sentence_that_quotes_no_key(text: str, why: str) -> None:
    with pytest.raises(SettingsError, match=why) as refused:
        Settings.load({"DEEDBOX_ENCRYPTION_KEYS": text})
    assert A.hex() not in str(refused.value)
    assert "g" * 64 not in str(refused.value)


def test_titles_in_alerts_and_a_ring_exclude_each_other() -> None:
    with pytest.raises(SettingsError, match="DEEDBOX_ALERT_DETAILS=on keeps titles in Redis"):
        Settings.load({"DEEDBOX_ENCRYPTION_KEYS": A.hex(), "DEEDBOX_ALERT_DETAILS": "on"})


def test_a_ring_without_the_library_is_refused_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "deedbox.shared.sealing.key_ring", None)
    with pytest.raises(SettingsError, match=r"pip install 'deedbox\[encryption\]'"):
        sealing.configure(Settings.load({"DEEDBOX_ENCRYPTION_KEYS": A.hex()}))
