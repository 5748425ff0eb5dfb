"""Simulated requests beside a pipeline that asks the real API: they are processed, and the API hears of none."""

from __future__ import annotations

import pytest

from deedbox.ops.demo.simulate import SimulateOptions, draw
from deedbox.shared.core.identity import is_file_safe, is_simulated
from deedbox.shared.simulator.api_state import Endpoint
from deedbox.shared.simulator.lifecycle import Account
from deedbox.workers.dropbox_sign.client import SignApi
from tests.component.workers.fetch_desk import ALL_SIGNED, API_KEY, DOWNLOADABLE, Desk, desk, open_desk, shown

__all__ = ["desk", "open_desk"]

pytestmark = pytest.mark.real_redis

SIMULATED_ID = "simulated_0123456789abcdef0123456789abcd"


@pytest.fixture
def public(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the API count as the vendor's, wherever it listens."""
    monkeypatch.setattr(SignApi, "is_here", property(lambda _api: False))


@pytest.mark.usefixtures("public")
def test_the_real_api_is_asked_for_no_simulated_request(desk: Desk) -> None:
    for number, event_type in enumerate((ALL_SIGNED, DOWNLOADABLE)):
        desk.happen(event_type, number, SIMULATED_ID, is_complete=True)
        desk.go_on()
    assert (desk.deployment.letters(), desk.deployment.left()) == ([], 0)
    assert desk.calls() == desk.calls(Endpoint.REQUEST) == 0
    notes = [line["detail"] for line in desk.deployment.timeline(SIMULATED_ID) if line["kind"] == "note"]
    assert notes == ["no document: the request is simulated, and the API is not asked for it"]
    desk.happen(DOWNLOADABLE)
    assert len(desk.sidecars()) == 1


def test_a_simulators_own_api_gives_its_documents(desk: Desk) -> None:
    desk.api.state.put(shown(SIMULATED_ID))
    desk.happen(DOWNLOADABLE, request_id=SIMULATED_ID, is_complete=True)
    assert len(desk.sidecars(SIMULATED_ID)) == 1


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("https://api.hellosign.com/v3", False), ("http://127.0.0.1:8090/v3", True), ("http://localhost:1/v3", True),
        ("http://[::1]:8090/v3", True), ("https://localhost.example.com/v3", False), ("http://10.0.0.1/v3", False),
    ],
)  # fmt: skip
def test_only_an_api_on_this_machine_is_a_simulators(url: str, here: bool) -> None:  # noqa: FBT001
    assert SignApi(url, API_KEY).is_here is here


def drawn(seed: int) -> set[str]:
    options = SimulateOptions("http://127.0.0.1/callbacks", requests=50)
    return {each.callback.signature_request_id for each in draw(options, Account(API_KEY), seed)}


def test_every_request_of_simulate_is_marked_and_each_has_its_own_id() -> None:
    ids = drawn(1)
    assert len(ids) == 50
    assert all(is_simulated(each) and is_file_safe(each) and len(each) == 40 for each in ids)
    assert ids.isdisjoint(drawn(2))
