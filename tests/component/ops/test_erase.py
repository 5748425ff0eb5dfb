"""``deedbox erase``: says what it will remove, asks, removes it, and may be repeated."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from redis import Redis

from deedbox.shared.documents import DocumentStore, FileTree
from deedbox.shared.redis import keys
from deedbox.shared.runtime import logs
from deedbox.workers.actions.interface import Context, Event, Reject
from deedbox.workers.builtins.track_status import registered
from tests.component.conftest import Operate
from tests.component.workers.rig import Deployment, action, members, sent, viewed

pytestmark = pytest.mark.real_redis

STREAM = "default:signature_request/r1"


def _fail(event: Event, _context: Context) -> None:
    if event.type.endswith("viewed"):
        raise Reject("Jane is unknown")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Undo what the command sets up for its audit line."""
    handlers, level = logging.getLogger().handlers[:], logging.getLogger(logs.ROOT).level
    yield
    structlog.reset_defaults()
    logging.getLogger().handlers[:] = handlers
    logging.getLogger(logs.ROOT).setLevel(level)


@pytest.fixture
def files(state: Redis, tmp_path: Path) -> list[Path]:
    """Process two callbacks of r1, one of which ends as a dead letter, and store a document."""
    deployment = Deployment(state, action(_fail, name="crm"), registered())
    deployment.deliver(sent(title="Jane"), viewed(3, title="Jane"))
    deployment.run()
    store = DocumentStore(FileTree(tmp_path / "documents"))
    store.put("default", "r1", b"%PDF-", "pdf", {"title": "Jane"})
    return [Path(file) for file in store.files("default", "r1")]


def _about(state: Redis) -> set[str]:
    return {name.decode() for name in state.scan_iter() if b"r1" in name}


@pytest.mark.parametrize(
    ("arguments", "code"), [(["--dry-run"], 0), (["--dry-run", "--documents", "--yes"], 0), ([], 2)]
)
def test_it_shows_what_it_would_remove_and_changes_nothing_without_a_clear_word(
    operate: Operate, state: Redis, files: list[Path], arguments: list[str], code: int
) -> None:
    before = {name: state.dump(name) for name in state.scan_iter()}
    answer = operate("erase", "r1", *arguments)
    assert answer.code == code
    assert "--yes" in answer.sentence or code == 0
    assert "2 stored callbacks" in answer.out
    assert "1 dead letter: 1" in answer.out
    assert all(str(path) in answer.out for path in files)
    assert {name: state.dump(name) for name in state.scan_iter()} == before
    assert all(path.exists() for path in files)


def test_an_erased_request_is_gone_its_documents_stay_unless_asked_for(
    operate: Operate, state: Redis, files: list[Path]
) -> None:
    first = answer = operate("erase", "r1", "--yes")
    assert answer.code == 0
    assert "Erased: 2 stored callbacks, 0 queue entries, 1 dead letter, 0 files" in answer.out
    assert _about(state) == {keys.erased(STREAM)}
    assert all(path.exists() for path in files)

    answer = operate("erase", "r1", "--documents", "--yes")
    assert answer.code == 0
    assert "2 files" in answer.out
    assert not files[0].parent.exists()

    for each in (first, answer):
        assert each.logged.count("request.erased") == 1
        assert "Jane" not in each.logged + each.out


def test_running_it_again_is_harmless(operate: Operate, state: Redis, files: list[Path]) -> None:
    assert files
    operate("erase", "r1", "--documents", "--yes")
    mark = state.get(keys.erased(STREAM))
    answer = operate("erase", "r1", "--documents")
    assert answer.code == 0, "nothing to ask about"
    assert "was erased at" in answer.out
    assert state.get(keys.erased(STREAM)) == mark


@pytest.mark.usefixtures("files")
def test_programs_get_json(operate: Operate) -> None:
    document = operate("erase", "r1", "--yes", "--documents", "--json").document
    assert (document["source"], document["ordering_key"]) == ("default", "signature_request/r1")
    assert (document["found"]["events"], document["found"]["letters"]) == (2, ["1"])
    assert document["removed"]["letters"] == 1
    assert len(document["removed"]["documents"]) == 2
    assert operate("erase", "r1", "--yes", "--json").document["removed"] is None


@pytest.mark.usefixtures("files")
def test_an_unknown_id_is_one_sentence(operate: Operate) -> None:
    answer = operate("erase", "r9", "--yes")
    assert (answer.code, answer.out) == (1, "")
    assert answer.sentence == (
        "Nothing is known about signature_request/r9 of source default; check the id and --source."
    )
    assert (
        "`deedbox erase signature_request/r1 --source default`"
        in operate("erase", "r1", "--source", "b").sentence
    )
    assert operate("erase", "type/callback_test").code == 1


@pytest.mark.usefixtures("files")
def test_trace_says_that_a_request_was_erased(operate: Operate, state: Redis) -> None:
    operate("erase", "r1", "--yes")
    answer = operate("trace", "r1")
    assert answer.code == 1
    assert "was erased at" in answer.sentence
    assert json.loads(state.get(keys.erased(STREAM)) or b"")["by"] == "operator"


def test_a_letters_event_that_outlived_its_request_is_found_after_a_redrive(
    operate: Operate, state: Redis, files: list[Path]
) -> None:
    """The letter kept its event while the stream's memory expired; a redrive makes the event findable again."""
    assert files
    for kind in (keys.order, keys.seen, keys.timeline, keys.request):
        state.delete(kind(STREAM))
    operate("dead", "redrive", "1", "--yes")
    [event] = [member.decode() for member in members(state, keys.seen(STREAM))]
    assert state.ttl(keys.event(event)) == -1, "it waits in a queue"
    answer = operate("erase", "r1", "--yes")
    assert "1 queue entry" in answer.out
    assert not state.exists(keys.event(event))
