"""``deedbox pause`` and ``deedbox resume``, and where a pause is shown."""

from __future__ import annotations

from typing import Any

import pytest
from redis import Redis

from deedbox.shared.redis import keys
from tests.component.conftest import Operate
from tests.component.workers.rig import Deployment, Journal, action, sent

pytestmark = pytest.mark.real_redis


@pytest.fixture
def journal(state: Redis) -> tuple[Deployment, Journal]:
    journal = Journal()
    return Deployment(state, action(journal, name="crm", lane="crm")), journal


def _warnings(operate: Operate) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = operate("status", "--json").document["warnings"]
    return [each for each in found if each["kind"].startswith("paused")]


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("action", "crm"), "action crm"),
        (("lane", "crm"), "lane crm"),
        (("source", "default"), "source default"),
        (("request", "r1"), "signature_request/r1 of source default"),
    ],
)
def test_a_pause_holds_and_is_shown_until_the_command_that_status_names_ends_it(
    operate: Operate, journal: tuple[Deployment, Journal], words: tuple[str, str], name: str
) -> None:
    deployment, calls = journal
    done = operate("pause", *words, "--why", "the CRM is away")
    deployment.deliver(sent())
    deployment.run()

    assert (done.code, f"Paused: {name}." in done.out) == (0, True)
    assert calls.types() == []
    [warning] = _warnings(operate)
    assert "the CRM is away" in warning["text"]
    assert [each["why"] for each in operate("status", "--json").document["pauses"]] == ["the CRM is away"]
    if words[0] in {"source", "request"}:
        assert f"paused: {name}" in operate("trace", "r1").out
        assert operate("trace", "r1", "--json").document["pauses"][0]["kind"] == words[0]

    command = warning["text"].partition("`deedbox ")[2].partition("`")[0]
    assert operate(*command.split()).code == 0
    deployment.sweeper.once()
    deployment.run()
    assert (calls.types(), _warnings(operate)) == (["sent"], [])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("action", "cmr"), "There is no action cmr; there are: crm."),
        (("lane", "cmr"), "There is no lane cmr; there are: crm."),
        (("source", "cmr"), "There is no source cmr; there are: default."),
        (("lane", "sequencer"), "The lane sequencer cannot be paused"),
    ],
)
def test_what_is_not_there_is_not_paused(
    operate: Operate, journal: tuple[Deployment, Journal], state: Redis, words: tuple[str, str], sentence: str
) -> None:
    del journal
    answer = operate("pause", *words)
    assert (answer.code, sentence in answer.sentence) == (1, True)
    assert not state.exists(keys.PAUSED)


def test_a_dry_run_changes_nothing_and_a_second_pause_says_who_made_the_first(
    operate: Operate, journal: tuple[Deployment, Journal], state: Redis
) -> None:
    del journal
    assert operate("pause", "action", "crm", "--dry-run").out == "Would pause action crm.\n"
    assert not state.exists(keys.PAUSED)
    document = operate("pause", "action", "crm", "--json").document
    assert (document["plan"]["paused"], document["done"]) == (None, {"paused": True})
    assert operate("pause", "action", "crm").out.startswith("It was paused before: paused: action crm, for ")
    assert operate("resume", "action", "crm", "--json").document["done"] == {"resumed": True}
    assert operate("resume", "action", "crm").out == "action crm is not paused.\n"


def test_a_pause_that_cannot_be_read_still_holds_and_can_be_ended(
    operate: Operate, journal: tuple[Deployment, Journal], state: Redis
) -> None:
    deployment, calls = journal
    state.hset(keys.PAUSED, "action|crm", "nonsense")
    deployment.deliver(sent())
    deployment.run()
    assert calls.types() == []
    assert len(_warnings(operate)) == 1
    operate("resume", "action", "crm")
    deployment.run()
    assert calls.types() == ["sent"]


def test_a_destination_is_paused_by_its_name(operate: Operate, state: Redis) -> None:
    journal = Journal()
    deployment = Deployment(state, action(journal, name="deliver.erp"))
    assert "Paused: destination erp." in operate("pause", "destination", "erp").out
    deployment.deliver(sent())
    deployment.run()
    assert journal.types() == []
    [warning] = _warnings(operate)
    assert "`deedbox resume destination erp`" in warning["text"]
    assert operate("resume", "action", "deliver.erp").code == 0
    deployment.run()
    assert journal.types() == ["sent"]
