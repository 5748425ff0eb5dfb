"""Destinations over real HTTP and a real Redis: what a receiver gets, and what its failures lead to."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from deedbox.shared.destinations import parse_destinations
from deedbox.workers.builtins.deliver import ATTEMPTS, Deliver, registered
from tests.component.destinations.conftest import KEY, SECRET, Webhooks
from tests.component.workers.rig import CREATED_AT, Deployment, P, expire_units, sent, viewed
from tests.support.certificates import Authority, has_openssl

pytestmark = pytest.mark.real_redis


class Destined(Deployment):
    """A deployment whose only destination is ``crm``, and whose waits a test ends."""

    def __init__(self, state: Redis, row: dict[str, Any]) -> None:
        self._passed_s = 0.0
        (crm,) = parse_destinations(json.dumps({"crm": row})).values()
        super().__init__(state, registered(crm, Deliver(crm, monotonic=lambda: self._passed_s)))

    def later(self) -> None:
        """Let every wait be over, and work."""
        self._passed_s += 10_000
        expire_units(self.redis, "waiting")
        self.sweeper.once()
        self.run()


def deployment(state: Redis, hooks: Webhooks, **changes: Any) -> Destined:
    return Destined(state, {"url": hooks.url, "secret": SECRET, "allow_private": True} | changes)


def test_a_receiver_gets_each_fact_once_in_order_and_can_verify_it(state: Redis, hooks: Webhooks) -> None:
    made = deployment(state, hooks)
    made.deliver(viewed(5), sent(), viewed(5), sent(request_id="r2"))
    made.run()

    assert hooks.types() == ["sent", "viewed"]
    assert hooks.types("r2") == ["sent"]
    for post in hooks.posts:
        headers = post.headers
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + post.body
        assert (
            headers["webhook-signature"]
            == "v1," + base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
        )
        assert post.path == "/hook?token=t0ken"
        assert headers["Host"] == f"127.0.0.1:{hooks.server.server_port}"
        assert headers["webhook-id"] == post.message["data"]["idempotency_key"]
    first = next(each.message for each in hooks.posts if each.message["data"]["signature_request_id"] == "r1")
    assert first["type"] == P + "sent"
    assert first["timestamp"] == "2027-01-15T08:00:00Z"
    assert first["data"]["time"] == CREATED_AT
    assert first["data"]["payload"]["signature_request"]["signature_request_id"] == "r1"
    assert "event_hash" not in first["data"]["payload"]["event"]


def test_a_destination_may_be_without_bodies_which_name_signers(state: Redis, hooks: Webhooks) -> None:
    made = deployment(state, hooks, payload=False)
    made.deliver(sent())
    made.run()
    assert "payload" not in hooks.posts[0].message["data"]


def test_while_a_receiver_is_away_events_wait_and_arrive_in_their_order_with_their_ids(
    state: Redis, hooks: Webhooks
) -> None:
    hooks.answer = lambda _post: (503, {})
    made = deployment(state, hooks)
    made.deliver(sent(), viewed(1), viewed(2))
    made.run()
    assert [each.message["type"] for each in hooks.posts] == [P + "sent"]

    hooks.answer = lambda _post: (200, {})
    made.later()

    assert hooks.types() == ["sent", "viewed", "viewed"]
    again = [each for each in hooks.posts if each.message["type"] == P + "sent"]
    assert len({each.headers["webhook-id"] for each in again}) == 1
    assert len({each.body for each in again}) == 1
    assert made.reasons() == []


def test_one_call_finds_out_for_all_requests_that_a_receiver_is_away(state: Redis, hooks: Webhooks) -> None:
    hooks.answer = lambda _post: (500, {})
    made = deployment(state, hooks)
    made.deliver(*(sent(request_id=f"r{n}") for n in range(20)))
    made.run()
    assert len(hooks.posts) == 1


def test_a_receiver_decides_when_it_is_asked_again(state: Redis, hooks: Webhooks) -> None:
    hooks.answer = lambda _post: (429, {"Retry-After": "120"})
    made = deployment(state, hooks)
    made.deliver(sent())
    made.run()
    (line,) = [each for each in made.timeline() if each["kind"] == "retry"]
    assert line["next_at"] - line["at"] == pytest.approx(120, abs=1)
    assert "429" in line["detail"]


def test_what_a_receiver_refuses_is_a_dead_letter_after_its_attempts_and_the_next_event_goes_on(
    state: Redis, hooks: Webhooks
) -> None:
    hooks.answer = lambda post: (400 if post.message["type"].endswith("sent") else 200, {})
    made = deployment(state, hooks)
    made.deliver(sent(), viewed(1))
    for _ in range(ATTEMPTS):
        made.later()
    assert made.reasons() == ["attempts_exhausted"]
    assert hooks.types() == ["viewed"]


def test_a_receiver_that_is_gone_for_good_costs_one_call_for_each_event(
    state: Redis, hooks: Webhooks
) -> None:
    hooks.answer = lambda _post: (410, {})
    made = deployment(state, hooks)
    made.deliver(sent())
    made.run()
    assert made.reasons() == ["rejected"]
    assert len(hooks.posts) == 1


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 64 + ".example.com"])
def test_a_name_that_leads_nowhere_lets_events_wait(state: Redis, hooks: Webhooks, host: str) -> None:
    made = deployment(state, hooks, url=f"https://{host}/")
    made.deliver(sent())
    made.run()
    (line,) = [each for each in made.timeline() if each["kind"] == "retry"]
    assert (line["outcome"], f"{host} does not answer" in line["detail"]) == ("retry", True)


def test_redirects_are_not_followed(state: Redis, hooks: Webhooks) -> None:
    hooks.answer = lambda _post: (302, {"Location": "/elsewhere"})
    made = deployment(state, hooks)
    made.deliver(sent())
    made.run()
    assert [each.path for each in hooks.posts] == ["/hook?token=t0ken"]
    assert hooks.taken == []


@pytest.mark.skipif(not has_openssl(), reason="openssl makes the certificates; install it")
def test_over_tls_a_receiver_must_show_the_certificate_of_its_name(
    state: Redis, hooks: Webhooks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path / "ca", "receivers")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca))
    certificate, key = authority.sign("receiver", "DNS:localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    hooks.server.socket = context.wrap_socket(hooks.server.socket, server_side=True)
    port = hooks.server.server_port
    right = deployment(state, hooks, url=f"https://localhost:{port}/hook")
    right.deliver(sent())
    right.run()
    assert hooks.types() == ["sent"]

    wrong = deployment(state, hooks, url=f"https://127.0.0.1:{port}/hook")
    wrong.deliver(sent(request_id="r2"))
    wrong.run()
    assert hooks.types("r2") == []
    (line,) = [each for each in wrong.timeline("r2") if each["kind"] == "retry"]
    assert "127.0.0.1 does not answer (SSLError)" in line["detail"]


@pytest.mark.parametrize("types", [[P + "viewed"], ["template_*", P + "v*"]])
def test_only_the_types_that_a_destination_names_reach_it(
    state: Redis, hooks: Webhooks, types: list[str]
) -> None:
    made = deployment(state, hooks, types=types)
    made.deliver(sent(), viewed(1))
    made.run()
    assert hooks.types() == ["viewed"]


def test_only_what_fulfils_the_conditions_of_a_destination_reaches_it(state: Redis, hooks: Webhooks) -> None:
    made = deployment(state, hooks, where={"metadata.env": "prod", "test_mode": False})
    made.deliver(
        sent(metadata={"env": "prod"}),
        sent(request_id="r2", metadata={"env": "staging"}),
        sent(request_id="r3", metadata={"env": "prod"}, test_mode=True),
        sent(request_id="r4", metadata=[]),
    )
    made.run()
    assert {each.message["data"]["signature_request_id"] for each in hooks.posts} == {"r1"}
    assert any("where" in line.get("detail", "") for line in made.timeline("r2"))


def test_a_callback_without_metadata_is_judged_by_what_its_request_showed_before(
    state: Redis, hooks: Webhooks
) -> None:
    made = deployment(state, hooks, where={"metadata.env": "prod"})
    made.deliver(sent(metadata={"env": "prod"}), viewed(1, metadata={}))
    made.deliver(sent(request_id="r2", metadata={"env": "staging"}), viewed(1, "r2", metadata={}))
    made.run()
    assert hooks.types() == ["sent", "viewed"]
    assert hooks.types("r2") == []


def test_a_name_that_leads_inside_is_not_called_unless_that_is_allowed(
    state: Redis, hooks: Webhooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the name led elsewhere when the settings were read (DNS rebinding)."""
    resolved = socket.getaddrinfo("127.0.0.1", hooks.server.server_port, type=socket.SOCK_STREAM)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_more: resolved)
    row = {"url": f"https://hooks.example.com:{hooks.server.server_port}/", "secret": SECRET}
    made = Destined(state, row)
    made.deliver(sent())
    made.run()
    assert hooks.posts == []
    (line,) = [each for each in made.timeline() if each["kind"] == "retry"]
    assert "allow_private" in line["detail"]
