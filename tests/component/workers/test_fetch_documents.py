"""``fetch_documents``: when, what and where it stores."""

from __future__ import annotations

import hashlib
import time

import pytest

from deedbox.shared.simulator.api_state import Endpoint
from deedbox.workers.actions.registry import RegisteredAction
from tests.component.workers.fetch_desk import (
    ALL_SIGNED,
    DOWNLOADABLE,
    LANE,
    Desk,
    Open,
    desk,
    open_desk,
    shown,
)
from tests.component.workers.rig import (
    TRACE,
)

__all__ = ["desk", "open_desk"]

pytestmark = pytest.mark.real_redis


def test_the_final_document_is_stored_with_its_facts(desk: Desk) -> None:
    desk.happen(DOWNLOADABLE)
    sha256 = desk.sha256()
    assert set(desk.files()) == {f"{sha256}.pdf", f"{sha256}.json"}
    data = desk.files()[f"{sha256}.pdf"].read_bytes()
    assert hashlib.sha256(data).hexdigest() == sha256
    sidecar = desk.sidecars()[sha256]
    assert abs(sidecar.pop("fetched_at") - time.time()) < 60
    assert sidecar == {
        "signature_request_id": "r1", "title": "Lease 7/12", "signers": 1, "test_mode": False, "sha256": sha256,
        "size": len(data), "file": f"{sha256}.pdf", "version": "current", "trace_id": TRACE,
    }  # fmt: skip


def test_a_users_action_learns_where_the_document_is(desk: Desk) -> None:
    desk.happen(DOWNLOADABLE)
    [(event, _)] = desk.stored.calls
    path = desk.files()[f"{desk.sha256()}.pdf"]
    assert event.payload == {
        "url": path.resolve().as_uri(), "sha256": desk.sha256(), "size": path.stat().st_size,
        "signature_request_id": "r1",
    }  # fmt: skip
    assert (event.type, event.signature_request_id) == ("deedbox.document_stored", "r1")
    assert "document" in desk.deployment.kinds()


def test_a_partly_signed_copy_is_never_stored(desk: Desk) -> None:
    """An intermediate ``downloadable``: the API would give a copy, with 200."""
    desk.api.state.put(shown(is_complete=False))
    desk.happen(DOWNLOADABLE)
    assert (desk.files(), desk.calls(), desk.deployment.left()) == ({}, 0, 0)
    desk.api.state.put(shown())
    desk.happen(DOWNLOADABLE, 5, is_complete=True)
    assert list(desk.sidecars()) == [desk.sha256()]


def test_a_completion_that_the_api_does_not_show_yet_is_waited_for(desk: Desk) -> None:
    desk.api.state.put(shown(is_complete=False))
    desk.happen(DOWNLOADABLE, is_complete=True)
    assert desk.waits()
    desk.api.state.put(shown())
    desk.go_on()
    assert len(desk.sidecars()) == 1


def test_without_a_downloadable_the_document_is_fetched_after_a_grace(desk: Desk) -> None:
    desk.happen(ALL_SIGNED)
    desk.go_on()
    assert desk.waits()
    assert desk.calls(Endpoint.REQUEST) == 0
    desk.fetch._clock = lambda: time.time() + 61
    desk.go_on()
    assert len(desk.sidecars()) == 1
    assert len(desk.stored.calls) == 1


def test_a_downloadable_in_time_makes_the_grace_end_without_another_call(desk: Desk) -> None:
    desk.happen(ALL_SIGNED)
    desk.happen(DOWNLOADABLE, 1)
    assert len(desk.sidecars()) == 1
    desk.go_on()
    assert (desk.calls(), desk.deployment.left()) == (1, 0)


def test_a_later_downloadable_is_fetched_once_more_and_other_bytes_become_current(desk: Desk) -> None:
    desk.happen(DOWNLOADABLE)
    first = desk.sha256()
    desk.api.state.revise("r1")
    desk.happen(DOWNLOADABLE, 5)
    second = desk.sha256()
    assert {digest: row["version"] for digest, row in desk.sidecars().items()} == {
        first: "superseded", second: "current",
    }  # fmt: skip
    assert {f"{first}.pdf", f"{second}.pdf"} <= set(desk.files())
    assert [event.payload["sha256"] for event, _ in desk.stored.calls] == [first, second]
    desk.happen(DOWNLOADABLE, 9)
    assert desk.calls() == 2


def test_the_same_bytes_again_are_no_new_document(desk: Desk) -> None:
    desk.happen(DOWNLOADABLE)
    desk.happen(DOWNLOADABLE, 5)
    assert (desk.calls(), len(desk.sidecars()), len(desk.stored.calls)) == (2, 1, 1)


@pytest.mark.parametrize("request_id", ["../../etc/passwd", "a/b", "a.b", "é", "x" * 129])
def test_an_id_that_is_no_file_name_is_refused_without_a_call(desk: Desk, request_id: str) -> None:
    desk.happen(DOWNLOADABLE, request_id=request_id)
    assert desk.deployment.reasons() == ["rejected"]
    assert desk.calls(Endpoint.REQUEST) == 0
    assert not (desk.settings.data_dir / "documents").exists()


def test_separate_files_come_as_a_zip_if_set_so(open_desk: Open) -> None:
    desk = open_desk(DEEDBOX_DOCUMENT_TYPE="zip")
    desk.happen(DOWNLOADABLE)
    sha256 = desk.sha256("zip")
    assert set(desk.files()) == {f"{sha256}.zip", f"{sha256}.json"}


def test_the_action_runs_on_its_own_lane_unordered(desk: Desk) -> None:
    registered = desk.deployment.registry.get("fetch_documents")
    assert isinstance(registered, RegisteredAction)
    assert (registered.lane, registered.ordered) == (LANE, False)
