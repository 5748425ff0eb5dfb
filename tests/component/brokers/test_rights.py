"""A Redis user for each process type, with the rights that ``docs/deploy.md`` names: everything runs, nothing is refused."""

from __future__ import annotations

import re
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import NoPermissionError, RedisError

from deedbox.ingress import spool_command
from deedbox.ops.checks import run
from deedbox.shared.audit import audit_log
from deedbox.shared.redis import keys, script_calls
from deedbox.shared.redis.scripting import Scripts
from tests.component.ingress.requests import ACK, posted
from tests.component.ingress.test_web_process import serving
from tests.component.ops_web.conftest import running_ops
from tests.component.workers.fleet import Fleet
from tests.component.workers.server import RedisServer, missing, until
from tests.unit.ingress.wire import KEY

pytestmark = [pytest.mark.real_redis, pytest.mark.e2e]

ROW = re.compile(
    r"^\| `(?P<name>\w+)` \| `(?P<keys>[%~][^`|]+)` \| `(?P<commands>[-+][^`]+)` \|$", re.MULTILINE
)
PASSWORD = "s3cret"


class Users:
    """The documented users on a server."""

    def __init__(self, server: RedisServer, state: Redis) -> None:
        text = (Path(__file__).parents[3] / "docs" / "deploy.md").read_text("utf-8")
        self.names = []
        for row in ROW.finditer(text):
            rights = [*row["keys"].split(), *row["commands"].replace("\\|", "|").split()]
            words = ("ACL", "SETUSER", row["name"], "reset", "on", f">{PASSWORD}", *rights)
            state.execute_command(*words)  # type: ignore[no-untyped-call]
            self.names.append(row["name"])
        state.execute_command("ACL", "LOG", "RESET")  # type: ignore[no-untyped-call]
        self._server = server

    def url(self, name: str) -> str:
        """Return the address for one process type."""
        return self._server.url.replace("redis://", f"redis://{name}:{PASSWORD}@")

    def client(self, name: str) -> Redis:
        """Return a client of one process type."""
        return Redis.from_url(self.url(name))


@pytest.fixture
def users(redis_server: RedisServer, state: Redis) -> Users:
    if str(state.info("server")["redis_version"]) < "7":
        missing("This server knows no %W~; install redis-server 7 or later.")
    return Users(redis_server, state)


class As:
    """The server, as a process type sees it."""

    def __init__(self, url: str) -> None:
        self.url = url


def _refused(state: Redis) -> set[str]:
    return {f"{entry['username']}: {entry['context']} {entry['object']}" for entry in state.acl_log()}


def test_the_page_has_a_user_for_each_process_type(users: Users) -> None:
    assert sorted(users.names) == ["bridge", "ops", "sweeper", "web", "worker"]


def test_a_callback_goes_its_way_and_no_command_is_refused(
    users: Users, state: Redis, tmp_path: Path
) -> None:
    """Each process has its own user, from the socket of ingress to the pages of ops."""
    # The callback of the tests is from 2023.
    more = {"DEEDBOX_BUILTINS": "track_status", "DEEDBOX_API_KEYS": KEY, "DEEDBOX_MAX_EVENT_AGE_S": "0"}
    with ExitStack() as stack:
        fleets = {}
        for name in ("bridge", "worker", "sweeper"):
            (tmp_path / name).mkdir()
            fleets[name] = stack.enter_context(Fleet(As(users.url(name)), tmp_path / name, **more).running())
        fleets["bridge"].start("bridge")
        fleets["worker"].start("worker", "--lane", "sequencer")
        fleets["worker"].start("worker", "--lane", "default")
        fleets["sweeper"].start("sweeper")
        (tmp_path / "web").mkdir()
        web = stack.enter_context(serving(users.url("web"), tmp_path / "web"))
        ops = stack.enter_context(running_ops(users.url("ops"), tmp_path / "ops", DEEDBOX_API_KEYS=KEY))
        with socket.create_connection(("127.0.0.1", web.port), 10) as client:
            client.sendall(posted("/callbacks"))
            assert ACK.encode() in client.recv(4096)
        fleets["worker"].ended("r1")
        until(lambda: state.hget(keys.SOURCES, "default|accepted"), "the web process has reported")
        for path in ("/", "/requests", "/dead", "/metrics", "/api/queues", "/api/events", "/api/requests/r1"):
            assert ops.request("GET", path).status == 200, path
        until(lambda: state.xlen(keys.SAMPLES), "ops has taken a sample")
        found = run(
            {"DEEDBOX_REDIS_URL": users.url("ops"), "DEEDBOX_DATA_DIR": str(tmp_path), **more}, offline=True
        )
        verdicts = {each.name: str(each.verdict) for each in found}
    assert _refused(state) <= {"ops: toplevel config|get"}, (
        "only check asks for the configuration, and can do without"
    )
    assert verdicts["redis"] == verdicts["broker"] == verdicts["broker passage"] == "ok"


def test_a_web_process_files_a_dead_letter_of_what_its_spool_has_set_aside(
    users: Users, state: Redis
) -> None:
    with users.client("web") as client:
        client.hset(keys.SPOOLS, "host", "mark")
        client.hdel(keys.SPOOLS, "host")
        client.wait(0, 1)
        script_calls.append(
            Scripts(client),
            letters=[{"reason": "broker_refused", "raw": b"x", "key": "k", "source": "default"}],
        )
    assert state.zcard(keys.DEAD) == 1
    assert _refused(state) == set()


def test_a_command_on_a_web_host_does_its_work_and_says_that_it_is_not_recorded(
    users: Users, state: Redis, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A user that may write the record has it recorded there, too."""

    def drain(name: str) -> str:
        environ = {
            "DEEDBOX_REDIS_URL": users.url(name),
            "DEEDBOX_DATA_DIR": str(tmp_path),
            "DEEDBOX_API_KEYS": KEY,
        }
        assert spool_command.main(environ, ["drain"]) == 0
        said = capsys.readouterr()
        assert "Published: 0." in said.out
        return said.err

    assert "(drain_spool) could not be recorded in the audit. Redis refused" in drain("web")
    assert audit_log.read(state, 9) == []
    assert "audit" not in drain("ops")
    assert [line.operation for line in audit_log.read(state, 9)] == ["drain_spool"]


@pytest.mark.parametrize(
    "words",
    [
        ("LRANGE", keys.RAW_QUEUE, "0", "-1"), ("RPOP", keys.RAW_QUEUE), ("DEL", keys.RAW_QUEUE), ("FLUSHDB",), ("KEYS", "*"),
        ("RPUSH", "rq:queue:deedbox.default", "x"), ("HSET", "rq:job:x", "data", "x"), ("HGETALL", "deedbox:event:x"),
        ("SET", "deedbox:request:default:signature_request/r1", "x"), ("HGET", "deedbox:dead:1", "raw"),
        ("EVAL", "return redis.call('LRANGE', 'deedbox.raw', 0, -1)", "0"), ("CONFIG", "GET", "*"), ("SCAN", "0"),
        ("PUBLISH", "rq:pubsub:x", "shutdown"),
        ("LPUSH", keys.AUDIT, "x"), ("LTRIM", keys.AUDIT, "1", "0"), ("LRANGE", keys.AUDIT, "0", "-1"), ("ACL", "LIST"), ("MONITOR",),
    ],
)  # fmt: skip
def test_who_takes_over_a_web_host_reads_no_callback_and_rings_no_worker(
    users: Users, words: tuple[str, ...]
) -> None:
    with users.client("web") as client:
        with pytest.raises(RedisError) as raised:
            client.execute_command(*words)
        denied = isinstance(raised.value, NoPermissionError) or "permission" in str(raised.value).lower()
        assert denied, raised.value
