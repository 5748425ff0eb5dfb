"""Trace ids, readiness, topology and server settings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deedbox.ingress.monitor.readiness import FRESH_S, Readiness
from deedbox.ingress.publish.handover import Handover
from deedbox.ingress.receive.tracing import trace_id_of
from deedbox.ingress.server import options
from deedbox.shared.broker.errors import cause
from deedbox.shared.core.reasons import Refusal
from tests.unit.ingress.wire import RememberingBroker, settings

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    "header", [f"00-{TRACE}-{PARENT}-01", f" 00-{TRACE}-{PARENT}-00 ", f"42-{TRACE}-{PARENT}-01-x"]
)
def test_a_well_formed_traceparent_is_honoured(header: str) -> None:
    assert trace_id_of(header) == TRACE


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "x",
        f"00-{TRACE}-{PARENT}",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-x",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
    ],
)
def test_an_ill_formed_traceparent_is_replaced(header: str | None) -> None:
    assert trace_id_of(header) not in {TRACE, "0" * 32}


@given(st.text())
def test_a_trace_id_is_always_32_hexadecimal_characters(header: str) -> None:
    found = trace_id_of(header)
    assert len(found) == 32
    assert set(found) <= set("0123456789abcdef")


def test_readiness_asks_the_broker_once_a_second_however_many_ask() -> None:
    broker, now = RememberingBroker(), [0.0]
    readiness = Readiness(broker, Handover(settings(), broker), lambda: now[0])
    assert readiness.health().refusal is None
    broker.down = True
    assert readiness.health().refusal is None
    now[0] += FRESH_S
    assert readiness.health().refusal is Refusal.BROKER_UNAVAILABLE


def test_an_errors_cause_is_named_without_its_text() -> None:
    error = RuntimeError("outer s3cret")
    error.__cause__ = ConnectionRefusedError("inner s3cret")
    assert cause(error) == "ConnectionRefusedError"
    assert cause(RuntimeError("OOM command not allowed")) == "RuntimeError OOM"


def test_the_server_keeps_to_itself() -> None:
    found = options(settings(DEEDBOX_BIND="::1", PORT="8010"))
    assert found["bind"] == ["[::1]:8010"]
    assert found["control_socket_disable"] is True
    assert found["accesslog"] is None
    assert found["workers"] == 2
