"""Whatever is sent: a decision, and what is taken is processed."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from deedbox.shared.core.callback import DEPTH_MAX
from deedbox.shared.core.signature import event_hash
from tests.fuzz import hostile, targets
from tests.unit.ingress.wire import BOUNDARY, KEY, callback, multipart

MARK = f"--{BOUNDARY}".encode()

fuzzed = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@given(document=hostile.callbacks)
@fuzzed
def test_what_a_key_holder_sends_is_refused_or_processed(document: Any) -> None:
    targets.signed(document)


@given(document=hostile.values)
@fuzzed
def test_any_json_is_decided(document: Any) -> None:
    targets.signed(document)


@given(text=hostile.doubled())
@fuzzed
def test_keys_that_come_twice_mean_the_same_to_everybody(text: bytes) -> None:
    document = targets.sign(json.loads(text))
    twice = text.replace(
        b'"' + b"0" * 64 + b'"', json.dumps(document.get("event", {}).get("event_hash")).encode()
    )
    targets.signed_text(twice)


@given(text=hostile.nested())
@fuzzed
@example(
    text=b'{"event": {"event_type": "x", "event_time": "1", "event_hash": "0"}, "deep": ' + b"[" * 500_000
)
def test_any_depth_is_decided(text: bytes) -> None:
    try:
        document = targets.sign(json.loads(text))
    except (ValueError, RecursionError):
        document = {}
    right = document.get("event", {}).get("event_hash", "0") if isinstance(document, dict) else "0"
    targets.signed_text(text.replace(b'"' + b"0" * 64 + b'"', json.dumps(right).encode()))


@pytest.mark.parametrize(("levels", "taken"), [(DEPTH_MAX - 1, True), (DEPTH_MAX, False), (900, False)])
def test_nesting_has_a_bound_of_its_own_below_every_readers(levels: int, *, taken: bool) -> None:
    """A text between what Python reads and what it writes was acknowledged, and no worker could process it."""
    text = callback(deep="HERE").replace(b'"HERE"', b"[" * levels + b"]" * levels)
    assert targets.signed_text(text) is taken


@given(body=hostile.bodies, kind=hostile.content_types, signature=st.one_of(st.none(), hostile.header_texts))
@settings(fuzzed, max_examples=400)
def test_any_body_of_any_content_type_is_decided(
    body: bytes, kind: str | None, signature: str | None
) -> None:
    targets.request(body, kind, signature)


@given(
    parts=st.lists(st.binary(max_size=40), max_size=40), end=st.sampled_from([b"--\r\n", b"\r\n", b"--", b""])
)
@fuzzed
def test_any_parts_are_decided(parts: list[bytes], end: bytes) -> None:
    targets.request(b"".join(MARK + b"\r\n" + part + b"\r\n" for part in parts) + MARK + end)


@given(cut=st.integers(0, 400), place=st.integers(0, 400), junk=st.binary(max_size=6))
@fuzzed
def test_a_genuine_request_that_is_cut_or_damaged_is_decided(cut: int, place: int, junk: bytes) -> None:
    whole = multipart(callback())
    targets.request(whole[:place] + junk + whole[place + cut :])
    targets.request(whole[:cut])


@pytest.mark.parametrize(
    "at",
    ["0", 0, "1", "almost a day ahead"],
)
def test_the_ends_of_time_are_processed(at: str | int) -> None:
    """The later end is a day ahead of the clock."""
    if at == "almost a day ahead":
        at = int(time.time()) + 80_000
    assert targets.signed({"event": {"event_type": "signature_request_sent", "event_time": at}})


@pytest.mark.parametrize(
    "at",
    [
        "9007199254740993",
        "9007199254740992",
        2**53,
        10**17,
        "1e400",
        -1,
        "-1",
        1.0,
        "NaN",
        "\u0661",
        " 1",
        "",
    ],
)
def test_a_time_beyond_them_is_refused_by_name(at: Any) -> None:
    event = {"event_type": "x", "event_time": at, "event_hash": event_hash(KEY, str(at), "x")}
    answer = targets.request(multipart(json.dumps({"event": event}).encode()))
    assert answer.json is not None
    assert (answer.status_code, answer.json["error"]) == (400, "bad_field")
    assert "event_time" in answer.json["detail"]


@pytest.mark.parametrize(
    "name", ["..", "../../etc/passwd", "a/b", "a\\b", "a\x00b", "\ud800", "é", "a|b", "a:b", "x" * 500]
)
def test_an_id_never_reaches_a_key_or_a_path_as_it_came(name: str) -> None:
    document = {
        "event": {"event_type": "signature_request_signed", "event_time": "1", "event_metadata": {"related_signature_id": name}},
        "signature_request": {"signature_request_id": name, "signatures": [{"signature_id": name, "signed_at": 1}]},
    }  # fmt: skip
    assert targets.signed(document)


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed")
@pytest.mark.parametrize("target", ["request", "signed"])
def test_the_coverage_guided_fuzzer_runs_a_little(target: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", target, "--runs", "300"],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Done 300 runs" in done.stderr


def test_without_the_fuzzer_one_sentence_says_what_to_install() -> None:
    blocked = "import sys; sys.modules['atheris'] = None; import runpy; runpy.run_module('tests.fuzz', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", blocked], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr.startswith("The fuzzer needs atheris")
    assert done.stderr.count("\n") == 1
