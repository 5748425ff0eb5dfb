"""The callback URL watchdog and ``callback-url``, against the simulated API over HTTP."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from redis import Redis

from deedbox.shared.audit import audit_log
from deedbox.shared.redis import keys
from deedbox.shared.redis.embedded import free_port
from deedbox.shared.settings import Settings
from deedbox.shared.simulator.api_state import Endpoint, FilesApiPolicy
from deedbox.shared.simulator.files_api import FilesApi
from deedbox.shared.simulator.lifecycle import Account
from deedbox.workers.internal_events import Filing
from deedbox.workers.process import Process, describe_builtin
from deedbox.workers.sweeper.callback_url_watch import CallbackUrlWatch
from tests.component.workers.rig import Deployment, silent, units
from tests.component.workers.server import RedisServer
from tests.e2e.running import COMMAND, environment
from tests.support.command_line import run_command
from tests.support.stored import body_at

pytestmark = pytest.mark.real_redis

KEY = "k" * 64
URL = "https://hooks.example.com/callbacks"
OTHER = "https://elsewhere.example.com/hook"
APP = "b6b8e7deaf8f0b95c029dca049356d4a"


@pytest.fixture
def api() -> Iterator[FilesApi]:
    server = FilesApi(Account(KEY), FilesApiPolicy(), callback_url=URL)
    server.apps[APP] = URL
    server.start()
    yield server
    server.stop()


class Done(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


class Site:
    """One installation whose account and app should call back ``URL``."""

    def __init__(self, state: Redis, redis_url: str, api: FilesApi, folder: Path) -> None:
        self.state = state
        self.api = api
        self.environ = {
            "DEEDBOX_API_KEYS": KEY,
            "DEEDBOX_API_URL": api.url,
            "DEEDBOX_REDIS_URL": redis_url,
            "DEEDBOX_DATA_DIR": str(folder),
            "DEEDBOX_CALLBACK_URL": URL,
            "DEEDBOX_SOURCES": json.dumps({"default": {"client_ids": [APP]}}),
            "DEEDBOX_ALERT_URLS": "json://127.0.0.1:9",
        }

    def sweep(self) -> None:
        """Let one sweeper's watchdog look, and the lane of the account's calls work."""
        process = Process(Settings.load(self.environ))
        filing = Filing(process.scripts, silent, describe_builtin("watch_callback_url"), 3600)
        watched = process.settings.watched_sources
        for _ in range(2):  # a second sweeper finds it done
            CallbackUrlWatch(filing, watched).once()
        action = process.registry.get("watch_callback_url")
        assert action is not None
        Deployment(self.state, action).work()

    def later(self) -> None:
        """Let the time until the next look be over."""
        self.state.delete(keys.CALLBACK_URL_WATCHED)

    def messages(self) -> list[dict[str, Any]]:
        """Return the alerts on their way, oldest first."""
        found = []
        for unit in units(self.state, "ready"):
            body = body_at(self.state, keys.event(unit.decode().rpartition("|")[2]))
            found.append(json.loads(body))
        return sorted(found, key=lambda message: message["at"])

    def calls(self) -> int:
        """Count the calls that the API got."""
        return sum(self.api.calls().values())


@pytest.fixture
def site(state: Redis, redis_server: RedisServer, api: FilesApi, tmp_path: Path) -> Site:
    return Site(state, redis_server.url, api, tmp_path)


@pytest.fixture
def command(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Done]:
    """Return a function that runs ``python -m deedbox.workers callback-url ...`` in this process."""

    def run(*words: str, **env: str) -> Done:
        for name, value in (site.environ | env).items():
            monkeypatch.setenv(name, value)
        code = run_command(["callback-url", *words], monkeypatch)
        return Done(code, *capsys.readouterr())

    return run


def test_a_url_that_is_as_it_should_be_is_no_alert_and_two_calls(site: Site) -> None:
    site.sweep()
    assert not site.messages()
    assert site.api.calls() == {(Endpoint.ACCOUNT, 200): 1, (Endpoint.API_APP, 200): 1}


def test_it_is_looked_after_once_in_a_while_and_by_one_sweeper(site: Site) -> None:
    site.sweep()
    site.sweep()
    assert site.calls() == 2
    assert 0 < int(site.state.ttl(keys.CALLBACK_URL_WATCHED)) <= 900
    site.later()
    site.sweep()
    assert site.calls() == 4


@pytest.mark.parametrize("found", [None, OTHER])
def test_a_url_that_is_gone_or_another_is_one_alert_and_its_return_another(
    site: Site, found: str | None
) -> None:
    site.api.callback_url = found
    for _ in range(3):
        site.sweep()
        site.later()
    (message,) = site.messages()
    assert (message["kind"], message["shown"]) == (
        "callback_url_wrong" if found else "callback_url_dropped",
        ["account"],
    )
    assert next(iter(message["labels"])) == f"the URL is {found or 'not set'}"
    site.api.callback_url = URL
    site.sweep()
    assert [each["recovered"] for each in site.messages()] == [False, True]


def test_an_app_is_looked_after_by_itself(site: Site) -> None:
    site.api.apps[APP] = None
    site.sweep()
    assert [message["shown"] for message in site.messages()] == [[APP]]


def test_a_key_that_the_api_refuses_is_told(site: Site) -> None:
    site.environ["DEEDBOX_API_KEYS"] = "another"
    site.sweep()
    (message,) = site.messages()
    assert message["kind"] == "api_key_refused"
    assert message["labels"] == {"401 unauthorized": 1}


def test_an_api_that_is_down_is_asked_again_and_is_no_alert(site: Site) -> None:
    site.api.state.script(Endpoint.ACCOUNT, "", [503])
    site.api.callback_url = None
    site.sweep()
    assert not site.messages()
    assert len(units(site.state, "waiting")) == 1


def test_show_says_what_is_wrong_with_its_exit_code(site: Site, command: Callable[..., Done]) -> None:
    assert command("show").code == 0
    site.api.apps[APP] = OTHER
    done = command("show")
    assert done.code == 1
    assert f"wrong        default, app {APP}: {OTHER}, expected {URL}" in done.out
    rows = json.loads(command("show", "--json").out)["targets"]
    assert [(row["target"], row["verdict"]) for row in rows] == [("account", "ok"), (APP, "wrong")]


def test_set_puts_back_what_is_wrong_and_touches_nothing_else(
    site: Site, command: Callable[..., Done]
) -> None:
    site.api.callback_url = None
    assert command("set", "--dry-run").code == 0
    assert site.api.callback_url is None
    done = command("set", "--yes")
    assert done.code == 0
    assert f"account: not set -> {URL}" in done.out
    assert f"app {APP}: {URL} -> stays" in done.out
    assert [site.api.callback_url, site.api.apps[APP]] == [URL, URL]
    calls = site.calls()
    assert command("set", "--yes").code == 0
    assert site.calls() == calls + 2
    [recorded] = audit_log.read(site.state, 9)
    assert (recorded.operation, recorded.count, recorded.asked) == (
        "set_callback_url",
        1,
        {"source": "default"},
    )


def test_set_takes_another_url_for_one_app(site: Site, command: Callable[..., Done]) -> None:
    assert command("set", f"{OTHER}", f"--app={APP}", "--yes", "--json").code == 0
    assert (site.api.callback_url, site.api.apps[APP]) == (URL, OTHER)


def test_the_installed_command_shows_and_sets(site: Site, tmp_path: Path) -> None:
    site.api.callback_url = None

    def deedbox(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [COMMAND, "callback-url", *words], env=environment(**site.environ), cwd=tmp_path, text=True,
            capture_output=True, check=False, timeout=60,
        )  # fmt: skip

    done = deedbox("set", URL, "--yes")
    assert done.returncode == 0, done.stderr
    assert [site.api.callback_url] == [URL]
    assert deedbox("show", "--json").returncode == 0


def test_set_asks_first(site: Site, command: Callable[..., Done]) -> None:
    site.api.callback_url = None
    done = command("set")
    assert done.code == 2
    assert "--yes" in done.err
    assert site.api.callback_url is None


@pytest.mark.parametrize(
    ("words", "env", "code", "sentence"),
    [
        (("show", "--source=emea"), {}, 2, "There is no source emea"),
        (("set", "http://hooks.example.com"), {}, 2, "no public https URL"),
        (("set", "--yes"), {"DEEDBOX_CALLBACK_URL": ""}, 2, "DEEDBOX_CALLBACK_URL"),
        (("set", "--app=unknown", "--yes"), {}, 1, "no app unknown"),
        (("show",), {"DEEDBOX_API_KEYS": "another"}, 1, "refuses the key"),
        (("show",), {"DEEDBOX_API_URL": f"http://127.0.0.1:{free_port()}/v3"}, 1, "does not answer"),
    ],
)
@pytest.mark.usefixtures("site")
def test_what_a_person_can_put_right_is_one_sentence(
    command: Callable[..., Done], words: tuple[str, ...], env: dict[str, str], code: int, sentence: str
) -> None:
    done = command(*words, **env)
    assert done.code == code
    assert sentence in done.err
    assert done.err.count("\n") == 1


def test_an_answer_that_is_no_200_to_a_set_is_a_failure(site: Site, command: Callable[..., Done]) -> None:
    site.api.callback_url = None
    site.api.state.script(Endpoint.ACCOUNT, "", [200, 403])
    done = command("set", "--yes")
    assert done.code == 1
    assert "did not take the URL" in done.err
