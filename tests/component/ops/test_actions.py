"""``deedbox actions``: calls of an action that no module declares any more are shown, ended, or given to another one."""

from __future__ import annotations

import re

import pytest
from redis import Redis

from deedbox.shared.redis import keys
from deedbox.shared.redis.scripting import SERVER_CLOCK, Scripts
from tests.component.conftest import Operate
from tests.component.workers.rig import Deployment, Journal, action, declare, depth, sent, viewed

pytestmark = pytest.mark.real_redis


def _left_behind(state: Redis) -> None:
    """Leave three calls of the action old behind, and deploy without it."""
    deployment = Deployment(state, action(Journal(), name="old"))
    deployment.deliver(sent(), viewed(3), sent(0, "r2"))
    deployment.drain()
    declare(state, new="crm")


def _content(state: Redis) -> dict[bytes, bytes | None]:
    return {key: state.dump(key) for key in state.scan_iter()}


def test_declared_actions_and_calls_of_others_are_listed(operate: Operate, state: Redis) -> None:
    _left_behind(state)

    listed = operate("actions", "list", "--json").document
    page = operate("actions", "list").out

    assert listed == {
        "actions": [{"action": "new", "lane": "crm", "types": ["*"], "ordered": True, "calls": 0}],
        "undeclared": [{"action": "old", "calls": 3}],
    }
    assert "3 calls wait for the action old, which no module in DEEDBOX_ACTIONS declares." in page
    assert re.search(r"new +crm +0 +\*", page)


def test_ended_calls_are_dead_letters_that_a_later_declaration_can_redrive(
    operate: Operate, state: Redis
) -> None:
    _left_behind(state)

    done = operate("actions", "end", "old", "--yes")

    assert (done.code, "Ended: 3 calls." in done.out) == (0, True)
    letters = operate("dead", "list", "--json").document["letters"]
    assert [(row["reason"], row["action"]) for row in letters] == [("action_gone", "old")] * 3
    assert operate("actions", "list", "--json").document["undeclared"] == []
    journal = Journal()
    deployment = Deployment(state, action(journal, name="old"))
    operate("dead", "redrive", "--all", "--yes")
    deployment.work()
    assert (journal.types(), journal.types("r2")) == (["sent!", "viewed"], ["sent"])


def test_renamed_calls_run_in_the_other_action_whose_lane_is_rung(operate: Operate, state: Redis) -> None:
    _left_behind(state)

    done = operate("actions", "rename", "old", "new", "--yes", "--json").document

    assert done == {"plan": {"action": "old", "to": "new", "calls": 3}, "done": {"calls": 3, "left": 0}}
    assert state.llen(f"rq:queue:{keys.rq_queue('crm')}") == 1
    journal = Journal()
    Deployment(state, action(journal, name="new", lane="crm")).work()
    assert (journal.types(), journal.types("r2")) == (["sent", "viewed"], ["sent"])
    assert depth(state) == 0


@pytest.mark.parametrize("command", [("end", "old"), ("rename", "old", "new")])
def test_nothing_changes_without_a_decision(operate: Operate, state: Redis, command: tuple[str, ...]) -> None:
    _left_behind(state)
    before = _content(state)

    dry = operate("actions", *command, "--dry-run")
    unasked, as_json = operate("actions", *command), operate("actions", *command, "--json")

    assert (dry.code, "3 calls wait for the action old" in dry.out) == (0, True)
    assert (unasked.code, "There is no terminal to ask on" in unasked.sentence) == (2, True)
    assert (as_json.code, as_json.out) == (2, "")
    assert _content(state) == before


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (("end", "new"), "The action new is declared: its workers run its calls."),
        (("rename", "new", "new"), "The action new is declared: its workers run its calls."),
        (("rename", "old", "nowhere"), "No process declares the action nowhere; start its workers"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_sentence_and_changes_nothing(
    operate: Operate, state: Redis, command: tuple[str, ...], sentence: str
) -> None:
    _left_behind(state)
    before = _content(state)

    for how in ("--yes", "--dry-run"):
        answer = operate("actions", *command, how)
        assert (answer.code, sentence in answer.sentence) == (1, True)
    assert _content(state) == before


@pytest.mark.parametrize("stored", [None, "no JSON"])
def test_while_no_declaration_can_be_read_no_call_is_taken_for_undeclared(
    operate: Operate, state: Redis, stored: str | None
) -> None:
    """Otherwise one lost key would make dead letters of every call."""
    _left_behind(state)
    state.delete(keys.SUBSCRIPTIONS)
    if stored:
        state.hset(keys.SUBSCRIPTIONS, mapping={"actions": stored, "generation": 3})

    answer = operate("actions", "end", "old", "--yes")

    assert (answer.code, "start the workers first" in answer.sentence) == (1, True)
    ended = Scripts(state).call("end_calls", SERVER_CLOCK, "old", 10, 100, 10, 100)
    renamed = Scripts(state).call("rename_calls", SERVER_CLOCK, "old", "new", 10)
    assert (ended[0], renamed[0], state.hget(keys.DEPTHS, "old")) == (-3, -3, b"3")


def test_a_call_that_runs_is_left_and_the_command_says_so(operate: Operate, state: Redis) -> None:
    _left_behind(state)
    lease = ("default", "of the old version", 60.0, 0, 1, 1 << 20, "old")
    assert Scripts(state).call("claim_entries", SERVER_CLOCK, *lease)

    answer = operate("actions", "end", "old", "--yes")

    left = depth(state)
    assert left in {1, 2}, "a queue of which a call runs stays whole"
    assert (answer.code, f"Ended: {3 - left} call" in answer.out) == (1, True)
    assert "left, in queues of which a process runs a call just now" in answer.sentence


def test_an_action_without_calls_is_said_to_have_none_and_which_was_meant(
    operate: Operate, state: Redis
) -> None:
    _left_behind(state)
    answer = operate("actions", "end", "odl", "--yes")
    assert (answer.code, answer.out.strip()) == (0, "No call waits for the action odl. Did you mean old?")


@pytest.mark.parametrize("command", [0, 1])
def test_the_commands_that_check_and_status_advise_are_not_refused(
    operate: Operate, state: Redis, command: int
) -> None:
    """Law: an advised command does what the advice says. ``NEW`` is for the person to fill in."""
    _left_behind(state)
    check = operate("check", "--offline", "--json").document["checks"]
    warnings = operate("status", "--json").document["warnings"]
    texts = [row["fix"] for row in check] + [row["text"] for row in warnings]
    advised = [found for text in texts for found in re.findall(r"`deedbox (actions [^`]+)`", text)]
    assert advised == ["actions rename old NEW", "actions end old"] * 2

    answer = operate(*(word if word != "NEW" else "new" for word in advised[command].split()), "--yes")

    assert answer.code == 0
    assert "unknown_action" not in [each["kind"] for each in operate("status", "--json").document["warnings"]]
