"""What each answer of the API leads to: a wait, or a dead letter at once."""

from __future__ import annotations

import time

import pytest
from flask import Response

from deedbox.shared.redis import keys
from deedbox.shared.simulator.api_state import Endpoint
from tests.component.workers.fetch_desk import (
    ALL_SIGNED,
    DOWNLOADABLE,
    PDF,
    Desk,
    Open,
    desk,
    open_desk,
    serve,
    shown,
)
from tests.component.workers.rig import (
    callback,
)

__all__ = ["desk", "open_desk"]

pytestmark = pytest.mark.real_redis


@pytest.mark.parametrize("status", [409, 429, 500, 503])
@pytest.mark.parametrize("endpoint", [Endpoint.REQUEST, Endpoint.FILES])
def test_what_may_pass_is_waited_for(desk: Desk, status: int, endpoint: Endpoint) -> None:
    desk.api.script("r1", [status], endpoint)
    desk.happen(DOWNLOADABLE)
    assert desk.waits()
    desk.state.delete("none", *desk.state.keys(keys.PREFIX + "api:pause:*"))
    desk.go_on()
    assert len(desk.sidecars()) == 1
    assert desk.stored.calls[0][1].attempt == 1


@pytest.mark.parametrize(
    ("status", "endpoint"),
    [
        *(
            (status, endpoint)
            for status in (400, 401, 402, 410)
            for endpoint in (Endpoint.REQUEST, Endpoint.FILES)
        ),
        (403, Endpoint.FILES),
    ],
)
def test_what_will_not_change_by_waiting_is_a_dead_letter_at_once(
    desk: Desk, status: int, endpoint: Endpoint
) -> None:
    desk.api.script("r1", [status] * 2, endpoint)
    desk.happen(DOWNLOADABLE)
    [letter] = desk.deployment.letters()
    assert letter["reason"] == b"rejected"
    assert str(status).encode() in letter["detail"]
    assert desk.files() == {}


def test_a_request_of_which_the_account_is_only_a_recipient_ends_quietly_and_once(desk: Desk) -> None:
    """Account callbacks cover requests that others have sent; the API then answers 403."""
    desk.api.script("r1", [403] * 9, Endpoint.REQUEST)
    for number, event_type in enumerate((ALL_SIGNED, DOWNLOADABLE, DOWNLOADABLE)):
        desk.happen(event_type, number, is_complete=True)
        desk.go_on()
    assert (desk.deployment.letters(), desk.deployment.left(), desk.files()) == ([], 0, {})
    notes = [line["detail"] for line in desk.deployment.timeline() if line["kind"] == "note"]
    assert len(notes) == 1
    assert "only a recipient" in notes[0]
    assert desk.calls(Endpoint.REQUEST) == 1


def test_a_request_that_is_not_known_yet_gets_a_short_grace(desk: Desk) -> None:
    desk.api.script("r1", [404] * 2, Endpoint.REQUEST)
    desk.happen(DOWNLOADABLE)
    assert desk.waits()
    desk.go_on()
    assert desk.waits()
    desk.go_on()
    assert len(desk.sidecars()) == 1


def test_a_request_that_stays_unknown_is_a_dead_letter(desk: Desk) -> None:
    desk.api.script("r1", [404] * 2, Endpoint.REQUEST)
    desk.happen(DOWNLOADABLE)
    desk.fetch._clock = lambda: time.time() + 61
    desk.go_on()
    assert desk.deployment.reasons() == ["rejected"]


def test_files_in_error_are_a_dead_letter(desk: Desk) -> None:
    desk.api.state.put(shown(has_error=True))
    desk.happen(DOWNLOADABLE)
    assert b"has_error" in desk.deployment.letters()[0]["detail"]


def test_unprocessable_files_without_an_error_are_waited_for(desk: Desk) -> None:
    desk.api.script("r1", [422])
    desk.happen(DOWNLOADABLE)
    assert desk.waits()
    desk.go_on()
    assert len(desk.sidecars()) == 1


def test_an_api_that_is_down_is_waited_for(desk: Desk) -> None:
    desk.api.stop()
    desk.happen(DOWNLOADABLE)
    assert desk.waits()


def test_a_source_that_is_not_defined_any_more_is_a_dead_letter(desk: Desk) -> None:
    desk.deployment.deliver(callback(DOWNLOADABLE), source="gone")
    desk.deployment.run()
    assert b"DEEDBOX_SOURCES" in desk.deployment.letters()[0]["detail"]


def test_a_tls_failure_is_waited_for(open_desk: Open) -> None:
    """The SDK reports it with an exception of its own."""
    server = serve(lambda: Response(PDF))
    try:
        desk = open_desk(DEEDBOX_API_URL=server.url.replace("http:", "https:") + "/v3")
        desk.happen(DOWNLOADABLE)
    finally:
        server.stop()
    assert desk.waits()
