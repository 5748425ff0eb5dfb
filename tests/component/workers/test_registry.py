"""The registry: mistakes in a user's module are one sentence at start, and matching is exact."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deedbox.shared.core.errors import SettingsError
from deedbox.shared.core.routing import INTERNAL_PREFIX, KNOWN_TYPES
from deedbox.shared.settings import Settings
from deedbox.workers.actions import loading
from deedbox.workers.actions.interface import Context, Event, action
from deedbox.workers.actions.loading import misspellings
from deedbox.workers.actions.registry import Registry
from deedbox.workers.process import Process, build_registry, describe_builtin

Load = Callable[..., Registry]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Write modules, name them in DEEDBOX_ACTIONS and build the registry."""
    monkeypatch.syspath_prepend(tmp_path)

    def build(builtins: str = "none", **sources: str) -> Registry:
        for name, source in sources.items():
            (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
            monkeypatch.delitem(sys.modules, name, raising=False)
        names = ",".join(sources) or "absent_module"
        settings = Settings.load({"DEEDBOX_ACTIONS": names, "DEEDBOX_BUILTINS": builtins})
        return build_registry(settings, describe_builtin)

    return build


HEAD = "from deedbox.workers.actions import action\n"


def _declared(arguments: str) -> str:
    return f"{HEAD}@action({arguments})\ndef act(event, context): ...\n"


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (_declared('"a", name="x"') + _declared('"b", name="x"').replace("act", "act2").replace("@act2ion", "@action").replace("act2ion", "action"), "Two actions are named x"),
        (_declared('"a", lane="sequencer"'), "lane sequencer, which is reserved"),
        (_declared('"a", lane="documents"'), "lane documents, which is reserved"),
        (_declared('"a", lane="destinations"'), "lane destinations, which is reserved"),
        (_declared('"a", lane="a:b"'), "unusable lane"),
        (_declared('"a", name="a|b"'), "is not usable"),
        (_declared(""), "names no usable event types"),
        (_declared('"a*b"'), "names no usable event types"),
        (_declared('"**"'), "names no usable event types"),
        (_declared('"a b"'), "names no usable event types"),
        (_declared('"a", attempts=0'), "attempts of at least 1"),
        (_declared('"a", timeout_s=0'), "timeout_s above 0"),
        (f"{HEAD}@action\ndef act(event, context): ...\n", "@action takes event types"),
        ("import not_there\n", "does not import (ModuleNotFoundError: No module named 'not_there')"),
        ("this is no python\n", "does not import (SyntaxError"),
        ("raise RuntimeError\n", "does not import (RuntimeError: no message)"),
        ("raise RuntimeError\n", "at mistaken.py:1;"),
        ("\n\nthis is no python\n", "at mistaken.py:3;"),
        ("import sys\nsys.exit(3)\n", "ends the process while it is imported (SystemExit: 3) at mistaken.py:2"),
        ("import logging\nlogging.Formatter('%(')\n", "at mistaken.py:2;"),
        ("x = 1\n", "holds no @action function"),
        (f'{HEAD}@action("a")\ndef act(event): ...\n', "The action mistaken.act (mistaken.py:2) cannot be called with (event, context): too many positional arguments"),
        (f'{HEAD}@action("a")\ndef act(event, context, more): ...\n', "cannot be called with (event, context): missing a required argument: 'more'"),
        (f'{HEAD}@action("a")\nasync def act(event): ...\n', "cannot be called with (event, context)"),
        (f'{HEAD}@action("a")\ndef act(event, context): yield\n', "mistaken.py:2) has a yield"),
        (f'{HEAD}@action("a")\nasync def act(event, context): yield\n', "has a yield"),
        (f'{HEAD}@action("a")\nclass Act:\n    def __init__(self, event, context): ...\n', "is a class"),
        (f'{HEAD}class Acts:\n    @action("a")\n    def act(event, context): ...\n', "The action Acts.act (mistaken.py:3) is declared inside a class"),
        (f'{HEAD}class Acts:\n    @staticmethod\n    @action("a")\n    def act(event, context): ...\n', "is declared inside a class"),
        (f'{HEAD}class Act:\n    def __call__(self, event, context): yield\nact = action("a", name="x")(Act())\n', "has a yield"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence_that_names_it(load: Load, source: str, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(mistaken=source)
    sentence = str(caught.value)
    assert says in sentence
    assert "\n" not in sentence
    assert sentence.endswith(".")


HANGS = """
import threading
gate = threading.Lock()
gate.acquire()
while True:
    try:
        gate.acquire()
    except Exception:
        pass
"""


def test_a_module_that_hangs_at_import_is_named_with_its_line(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "IMPORT_MAX_S", 0.2)
    with pytest.raises(SettingsError) as caught:
        load(hanging=HANGS)
    assert "names hanging, which was still importing after 0.2 s at hanging.py:7;" in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "meant"),
    [
        ("signature_request_singed", "signature_request_signed"),
        ("signature_requests_signed", "signature_request_signed"),
        ("deedbox.documents_stored", "deedbox.document_stored"),
        ("signature_requests_*", "signature_request_*"),
    ],
)
def test_a_type_that_looks_misspelled_is_a_warning_with_a_suggestion(
    load: Load, pattern: str, meant: str
) -> None:
    registry = load(mine=_declared(f'"{pattern}"'))
    [warning] = [each for action in registry.actions for each in misspellings(action)]
    assert f"The action mine.act names {pattern}, which" in warning
    assert warning.endswith(f"did you mean {meant}?")


@pytest.mark.parametrize(
    "pattern",
    ["*", "signature_request_*", "signature_request*", "fax_*", "deedbox.*", "deedbox.document_stored", "sms_thing_done",
     *sorted(KNOWN_TYPES)],
)  # fmt: skip
def test_a_type_that_is_known_or_altogether_new_is_no_misspelling(load: Load, pattern: str) -> None:
    registry = load(mine=_declared(f'"{pattern}"'))
    assert [each for action in registry.actions for each in misspellings(action)] == []


def test_the_known_types_are_those_of_the_protocol() -> None:
    table = (Path(__file__).parents[3] / "docs" / "protocol.md").read_text(encoding="utf-8")
    section = table.partition("## 4. Event types")[2].partition("* Typical order")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("|")][2:]
    published = {name.strip() for row in rows if "legacy" not in row for name in row.split(",")}
    assert {each for each in KNOWN_TYPES if not each.startswith(INTERNAL_PREFIX)} == published


def test_an_object_that_can_be_called_may_be_an_action(load: Load) -> None:
    source = (
        f'{HEAD}class Act:\n    def __call__(self, event, context): ...\nact = action("a", name="x")(Act())\n'
    )
    assert [each.name for each in load(mine=source).subscribed("a")] == ["x"]


def test_a_decorated_function_keeps_its_own_type() -> None:
    """Checked by mypy, which reads this file."""

    @action("signature_request_signed")
    def act(_event: Event, _context: Context, times: int = 2) -> list[int]:
        return [1] * times

    many: Callable[[Event, Context, int], list[int]] = act
    assert many is act


def test_a_module_that_is_absent_is_named(load: Load) -> None:
    with pytest.raises(SettingsError, match="DEEDBOX_ACTIONS names absent_module, which does not import"):
        load()


def test_a_built_in_actions_name_is_taken(load: Load) -> None:
    with pytest.raises(SettingsError, match="Two actions are named track_status"):
        load("all", mine=_declared('"a", name="track_status"'))


@pytest.mark.parametrize(
    ("pattern", "event_type", "wanted"),
    [
        ("signature_request_sent", "signature_request_sent", True),
        ("signature_request_sent", "signature_request_sent2", False),
        ("signature_request_*", "signature_request_signed", True),
        ("signature_request_*", "template_created", False),
        ("signature_request*", "signature_request", True),
        ("*", "unheard_of", True),
        ("*", "deedbox.document_stored", False),
        ("deedbox.*", "deedbox.document_stored", True),
        ("deedbox.*", "deedboxes", False),
        ("deedbox.document_stored", "deedbox.document_stored", True),
    ],
)
def test_a_pattern_wants_what_it_says(load: Load, pattern: str, event_type: str, wanted: bool) -> None:  # noqa: FBT001
    registry = load(mine=_declared(f'"{pattern}"'))
    assert bool(registry.subscribed(event_type)) is wanted


def test_an_action_with_two_matching_patterns_runs_once(load: Load) -> None:
    registry = load(mine=_declared('"*", "signature_request_*", "signature_request_sent"'))
    assert len(registry.subscribed("signature_request_sent")) == 1


def test_one_function_may_be_two_actions(load: Load) -> None:
    source = (
        f'{HEAD}@action("a", name="x", lane="crm")\n@action("b", name="y")\ndef act(event, context): ...\n'
    )
    registry = load(mine=source)
    assert [each.name for each in registry.subscribed("a")] == ["x"]
    assert [each.name for each in registry.subscribed("b")] == ["y"]
    assert set(registry.lanes) == {"sequencer", "crm", "default"}


def test_an_action_that_another_listed_module_imports_is_one_action(load: Load) -> None:
    registry = load(first=_declared('"a"'), second="from first import act\n")
    assert [row["name"] for row in registry.describe()] == ["first.act"]


def test_the_lanes_start_with_the_sequencers(load: Load) -> None:
    registry = load("all", mine=_declared('"a", lane="crm"'))
    assert registry.lanes == ("sequencer", "documents", "default", "crm")


@pytest.mark.parametrize("lane", ["sequencer", "destinations", "fast"])
def test_a_worker_needs_no_setting_that_only_other_lanes_need(lane: str) -> None:
    """Law: without API keys, a document store or a Redis, a worker knows all actions as each other process knows them."""
    hooks = {
        name: {"url": "https://h/", "secret": "whsec_b3V0LXdvcmQtb3V0LXdvcmQtb3V0LXdvcmQh", "lane": at}
        for name, at in (("crm", "destinations"), ("erp", "fast"))
    }
    settings = Settings.load({"DEEDBOX_DESTINATIONS": json.dumps(hooks)})

    found = Process(settings, lane=lane).registry

    assert lane in found.lanes
    assert found.describe() == build_registry(settings, describe_builtin).describe()
