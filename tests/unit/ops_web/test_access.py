from __future__ import annotations

from typing import Any

import pytest

from deedbox.ops.web.auth.access import AccessPolicy, Caller, Denied, Question, Refused, decide, host_name
from deedbox.ops.web.auth.tokens import ALL_SCOPES, Scope, Token

READER = Token("grafana", "r" * 24, frozenset({Scope.READ}))
ADMIN = Token("admin", "a" * 24, ALL_SCOPES)
LOOPBACK = AccessPolicy()
PUBLIC = AccessPolicy(hosts=frozenset({"ops.example.com"}), loopback=False)


def ask(policy: AccessPolicy = LOOPBACK, **changes: Any) -> Caller | Denied:
    usual: dict[str, Any] = {
        "host": "localhost:8001",
        "peer": "127.0.0.1",
        "headers": frozenset({"host"}),
        "bearer": None,
        "bearer_token": None,
        "session_token": None,
        "scope": Scope.READ,
    }
    return decide(Question(**{**usual, **changes}), policy)


def refusal(answer: Caller | Denied) -> Refused:
    assert isinstance(answer, Denied)
    return answer.reason


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8001", "127.0.0.1:8001", "[::1]", "[::1]:8001"])
def test_this_machine_may_read_without_a_token(host: str) -> None:
    answer = ask(host=host)
    assert isinstance(answer, Caller)
    assert answer.name == "local"


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "127.0.0.2", "::1", "localhost:80:80"],
)
def test_a_name_that_is_not_ours_gets_no_answer_even_with_a_token(host: str) -> None:
    assert refusal(ask(host=host, bearer="x", bearer_token=ADMIN)) is Refused.BAD_HOST


@pytest.mark.parametrize(
    "name", ["forwarded", "via", "x-forwarded-for", "x-forwarded-proto", "x-real-ip", "cf-connecting-ip"]
)
def test_what_a_proxy_passed_on_is_not_local(name: str) -> None:
    assert refusal(ask(headers=frozenset({"host", name}))) is Refused.UNAUTHORIZED


def test_reading_needs_a_token_where_other_machines_can_ask() -> None:
    assert refusal(ask(PUBLIC, host="ops.example.com")) is Refused.UNAUTHORIZED
    answer = ask(PUBLIC, host="ops.example.com", bearer="x", bearer_token=READER)
    assert isinstance(answer, Caller)
    assert answer.name == "grafana"


def test_every_write_needs_a_token() -> None:
    assert refusal(ask(scope=Scope.WRITE)) is Refused.UNAUTHORIZED


def test_a_token_does_what_its_scopes_say() -> None:
    assert refusal(ask(scope=Scope.WRITE, bearer="x", bearer_token=READER)) is Refused.FORBIDDEN
    assert isinstance(ask(scope=Scope.WRITE, bearer="x", bearer_token=ADMIN), Caller)
    assert isinstance(ask(scope=Scope.WRITE, session_token=ADMIN), Caller)


def test_a_wrong_token_is_refused_where_none_would_have_been_needed() -> None:
    assert refusal(ask(bearer="guess")) is Refused.WRONG_TOKEN


def test_a_port_is_no_part_of_a_name() -> None:
    assert [host_name(each) for each in ("A:1", "[::1]:1", "a", "[::1]")] == ["a", "[::1]", "a", "[::1]"]
