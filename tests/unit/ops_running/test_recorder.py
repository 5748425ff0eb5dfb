"""The recording action: one whole line per call, whoever else writes."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest

from deedbox.ops.demo.evidence import RecordedCall, read_record
from deedbox.workers.actions import Context, Event, Reject
from deedbox.workers.actions.loading import load_module
from deedbox.workers.builtins.recorder import PATH_VARIABLE, record


def _event(event_type: str = "signature_request_signed", **payload: str) -> Event:
    return Event(
        type=event_type,
        time=7,
        received_at=8.0,
        source="default",
        ordering_key="signature_request/r1",
        signature_request_id="r1",
        related_signature_id="s1",
        test_mode=False,
        late=True,
        body_signature="valid",
        trust="attested",
        payload={"signer": "Ada Marsh", **payload},
    )


def _write(count: int) -> None:
    for number in range(count):
        record(_event(), Context(idempotency_key=f"{number}:record", attempt=1))


def test_what_it_writes_is_what_the_demo_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PATH_VARIABLE, str(tmp_path / "record"))
    _write(1)
    assert read_record(tmp_path / "record") == [
        RecordedCall(
            idempotency_key="0:record",
            type="signature_request_signed",
            time=7,
            key="default:signature_request/r1",
            signature_request_id="r1",
            related_signature_id="s1",
            late=True,
            body_signature="valid",
        )
    ]


def test_it_never_writes_a_payload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PATH_VARIABLE, str(tmp_path / "record"))
    _write(1)
    assert "Ada" not in (tmp_path / "record").read_text("utf-8")


def test_the_digest_of_a_stored_document_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PATH_VARIABLE, str(tmp_path / "record"))
    event = _event("deedbox.document_stored", sha256="ab", signature_request_id="r1")
    record(event, Context(idempotency_key="x", attempt=1))
    (call,) = read_record(tmp_path / "record")
    assert (call.sha256, call.internal) == ("ab", True)


def test_the_lines_of_several_processes_stay_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PATH_VARIABLE, str(tmp_path / "record"))
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(200,)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    lines = (tmp_path / "record").read_text("utf-8").splitlines()
    assert len([json.loads(line) for line in lines]) == 600


def test_without_a_file_to_write_the_call_is_a_dead_letter_that_names_the_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(PATH_VARIABLE, raising=False)
    with pytest.raises(Reject, match=PATH_VARIABLE):
        _write(1)


def test_it_sees_every_event_and_the_internal_ones() -> None:
    (action,) = load_module("deedbox.workers.builtins.recorder")
    assert (action.name, action.ordered) == ("record", True)
    assert all(action.wants(name) for name in ("fax_received", "never_heard_of", "deedbox.document_stored"))
