"""Who may ask what, as one pure decision."""

from __future__ import annotations

from typing import Any

import pytest

from deedbox.ops.web.auth.access import (
    ANYBODY,
    AccessPolicy,
    Caller,
    Denied,
    Question,
    Refused,
    client_of,
    decide,
    host_name,
    networks,
)
from deedbox.ops.web.auth.tokens import ALL_SCOPES, Scope, Token, digest_of

READER = Token("grafana", digest_of("r" * 24), frozenset({Scope.READ}))
ADMIN = Token("admin", digest_of("a" * 24), ALL_SCOPES)
OWNER = Caller("owner", ALL_SCOPES)
LOOPBACK = AccessPolicy()
PUBLIC = AccessPolicy(hosts=frozenset({"ops.example.com", "localhost"}), loopback=False)
BEHIND = AccessPolicy(proxies=networks(["10.0.0.0/8", "::1"]), user_header="X-Forwarded-User")


def ask(policy: AccessPolicy = LOOPBACK, **changes: Any) -> Caller | Denied:
    usual: dict[str, Any] = {"host": "localhost:8001", "peer": "127.0.0.1", "scope": Scope.READ}
    return decide(Question(**{**usual, **changes}), policy)


def refusal(answer: Caller | Denied) -> Refused:
    assert isinstance(answer, Denied)
    return answer.reason


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "localhost", "::ffff:127.0.0.1", "10.1.1.1", ""])
@pytest.mark.parametrize("scope", list(Scope))
@pytest.mark.parametrize("policy", [LOOPBACK, PUBLIC, BEHIND])
def test_nobody_reads_or_writes_without_a_token_wherever_they_ask_from(
    peer: str, scope: Scope, policy: AccessPolicy
) -> None:
    assert refusal(ask(policy, peer=peer, scope=scope)) is Refused.UNAUTHORIZED


def test_figures_are_open_to_this_machine_only() -> None:
    assert ask(impersonal=True) is ANYBODY
    assert refusal(ask(impersonal=True, peer="10.1.1.1")) is Refused.UNAUTHORIZED
    assert refusal(ask(PUBLIC, impersonal=True)) is Refused.UNAUTHORIZED
    assert ask(impersonal=True, bearer="x", bearer_token=READER) == Caller(
        "grafana", READER.scopes, by_bearer=True
    )


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8001", "127.0.0.1:8001", "[::1]", "[::1]:8001"])
def test_a_session_reads_under_every_name_of_this_machine(host: str) -> None:
    assert ask(host=host, session=OWNER) is OWNER


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "127.0.0.2", "::1", "localhost:80:80"],
)
def test_a_name_that_is_not_ours_gets_no_answer_even_with_a_token(host: str) -> None:
    assert refusal(ask(host=host, bearer="x", bearer_token=ADMIN)) is Refused.BAD_HOST


def test_a_token_does_what_its_scopes_say() -> None:
    assert refusal(ask(scope=Scope.WRITE, bearer="x", bearer_token=READER)) is Refused.FORBIDDEN
    assert isinstance(ask(scope=Scope.WRITE, bearer="x", bearer_token=ADMIN), Caller)
    assert ask(PUBLIC, host="ops.example.com", bearer="x", bearer_token=READER) == Caller(
        "grafana", READER.scopes, by_bearer=True
    )


def test_a_wrong_token_is_refused_where_none_would_have_been_needed() -> None:
    assert refusal(ask(bearer="guess", impersonal=True, session=OWNER)) is Refused.WRONG_TOKEN


def test_a_trusted_proxy_names_the_user_and_nobody_else_does() -> None:
    answer = ask(BEHIND, peer="10.9.8.7", proxy_user="jane@example.com", scope=Scope.WRITE)
    assert answer == Caller("jane@example.com", ALL_SCOPES)
    for policy, peer in ((BEHIND, "127.0.0.1"), (BEHIND, "192.0.2.1"), (LOOPBACK, "10.9.8.7"), (BEHIND, "")):
        assert refusal(ask(policy, peer=peer, proxy_user="jane@example.com")) is Refused.UNAUTHORIZED


@pytest.mark.parametrize("user", ["", "jane,admin", "x" * 129, "a\nb"])
def test_a_header_that_is_no_single_name_is_no_user(user: str) -> None:
    assert refusal(ask(BEHIND, peer="10.9.8.7", proxy_user=user)) is Refused.UNAUTHORIZED


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.1", "203.0.113.9", "192.0.2.1"),
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "6.6.6.6, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        ("::ffff:10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "6.6.6.6, nonsense", "nonsense"),
    ],
)
def test_tries_are_counted_by_the_last_address_that_no_proxy_of_ours_has(
    peer: str, forwarded: str, client: str
) -> None:
    """What stands further left may be the client's own invention."""
    assert client_of(peer, forwarded, BEHIND.proxies) == client


def test_a_port_is_no_part_of_a_name() -> None:
    assert [host_name(each) for each in ("A:1", "[::1]:1", "a", "[::1]")] == ["a", "[::1]", "a", "[::1]"]
