"""``deedbox conflict``: another body of a known fact can be compared and applied as a fact of its own."""

from __future__ import annotations

import json

import pytest
from redis import Redis

from deedbox.shared.redis import keys
from deedbox.workers.bridge import bridge
from tests.component.conftest import Operate
from tests.component.workers.rig import Deployment, Journal, action, sent, viewed

pytestmark = pytest.mark.real_redis


def _conflict(state: Redis) -> tuple[Deployment, Journal]:
    journal = Journal()
    deployment = Deployment(state, action(journal))
    deployment.deliver(sent(title="Jane's lease"), viewed(3), sent(title="John's lease"))
    deployment.run()
    return deployment, journal


def _bridged(deployment: Deployment) -> None:
    bridge.redrive(deployment.scripts, deployment.rung.append)
    deployment.run()


def _titles(journal: Journal) -> list[str]:
    calls = [event.payload["signature_request"].get("title", "") for event, _ in journal.calls]
    return [title for title in calls if title]


def test_a_conflict_is_listed_with_the_fields_that_differ_and_no_value(
    operate: Operate, state: Redis
) -> None:
    _conflict(state)
    listed = operate("conflict", "list", "r1")
    [row] = operate("conflict", "list", "r1", "--json").document["conflicts"]
    assert (row["differs_in"], row["applied"]) == (["signature_request.title"], False)
    assert row["body"][:12] in listed.out
    assert row["body"][:12] in operate("trace", "r1").out
    assert "lease" not in listed.out
    assert "No conflict is kept" in operate("conflict", "list", "r2").out


def test_both_bodies_are_shown_when_asked_for(operate: Operate, state: Redis) -> None:
    _conflict(state)
    [row] = operate("conflict", "list", "r1", "--json").document["conflicts"]
    shown = operate("conflict", "show", "r1", row["body"][:6], "--json").document
    assert shown["processed"]["signature_request"]["title"] == "Jane's lease"
    assert shown["other"]["signature_request"]["title"] == "John's lease"


def test_what_differs_is_shown_and_not_both_bodies(operate: Operate, state: Redis) -> None:
    _conflict(state)
    [row] = operate("conflict", "list", "r1", "--json").document["conflicts"]
    shown = operate("conflict", "show", "r1", row["body"][:6]).out.splitlines()
    changed = [line for line in shown if line[0] in "+-" and line[:3] not in {"+++", "---"}]
    assert [line.strip("+- ,") for line in changed] == [
        '"title": "Jane\'s lease"',
        '"title": "John\'s lease"',
    ]


def test_an_applied_conflict_is_a_fact_of_its_own_once(operate: Operate, state: Redis) -> None:
    deployment, journal = _conflict(state)
    [row] = operate("conflict", "list", "r1", "--json").document["conflicts"]
    assert _titles(journal) == ["Jane's lease"]

    for _ in range(2):  # the second is typed before the bridge has taken the first
        assert operate("conflict", "apply", "r1", row["body"][:8], "--yes").code == 0
    _bridged(deployment)

    assert _titles(journal) == ["Jane's lease", "John's lease"]
    assert journal.calls[-1][0].late
    first, second = (
        context.idempotency_key for event, context in journal.calls if event.type.endswith("sent")
    )
    assert first != second
    assert "applied already" in operate("conflict", "apply", "r1", row["body"], "--yes").out
    assert state.llen(keys.REDRIVE) == 0


@pytest.mark.parametrize(
    ("arguments", "code"), [(["--dry-run"], 0), ([], 2), (["--json"], 2), (["--json", "--dry-run"], 0)]
)
def test_a_conflict_is_not_applied_without_a_clear_word(
    operate: Operate, state: Redis, arguments: list[str], code: int
) -> None:
    _conflict(state)
    [row] = operate("conflict", "list", "r1", "--json").document["conflicts"]
    assert operate("conflict", "apply", "r1", row["body"], *arguments).code == code
    assert operate("conflict", "apply", "r1", "ffff", "--yes").code == 1
    assert state.llen(keys.REDRIVE) == 0


def test_bodies_nested_as_deep_as_ingress_takes_are_compared(operate: Operate, state: Redis) -> None:
    deployment = Deployment(state, action(Journal()))

    def nested(leaf: str) -> bytes:
        text = json.loads(sent())
        text["deep"] = leaf
        return json.dumps(text).replace(f'"{leaf}"', "[" * 90 + f'"{leaf}"' + "]" * 90).encode()

    deployment.deliver(nested("a"), nested("b"))
    deployment.run()
    assert "differs in 1 field: deep[0][0]" in operate("conflict", "list", "r1").out
