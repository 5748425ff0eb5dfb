"""The compose file: valid, closed in, and with secrets that its servers and Deedbox understand."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError
from redis.retry import Retry

from deedbox.shared.redis.embedded import free_port
from deedbox.shared.settings import SECRETS, Settings
from tests.component.workers.server import missing, server_binary
from tests.deploy import composed
from tests.deploy.processes import ROOT
from tests.deploy.tools import check
from tests.support.waiting import until

KEY: Final = "k" * 64
MOUNTED: Final = "/run/secrets/"


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that the shipped script fills."""
    folder = tmp_path_factory.mktemp("compose")
    shutil.copy(composed.FOLDER / "secrets.sh", folder)
    subprocess.run(["sh", "secrets.sh", KEY], cwd=folder, check=True)
    return folder / "secrets"


def _environment(service: dict[str, Any], secrets: Path) -> dict[str, str]:
    return {
        name: str(value).replace(MOUNTED, f"{secrets}/") for name, value in service["environment"].items()
    }


def test_the_file_is_valid() -> None:
    assert check("check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(composed.FILE)) == ""


def test_every_service_has_only_the_secrets_that_its_settings_name() -> None:
    for name, service in composed.ours().items():
        named = {str(value) for key, value in service["environment"].items() if key.endswith("_FILE")}
        assert named == {MOUNTED + each for each in service["secrets"]}, name
        assert not set(SECRETS) & set(service["environment"]), name


def test_every_service_is_closed_in() -> None:
    for name, service in composed.ours().items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
    for name, service in composed.read()["services"].items():
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert {"mem_limit", "pids_limit", "restart"} <= set(service), name
        # From outside, only through what ends TLS on this server.
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
    assert {
        name for name, service in composed.read()["services"].items() if "outside" not in service["networks"]
    } == {
        "redis",
        "rabbitmq",
    }


def test_the_script_writes_every_secret_and_keeps_those_that_are_there(secrets: Path) -> None:
    files = {name: each["file"] for name, each in composed.read()["secrets"].items()}
    assert files == {name: f"./secrets/{name}" for name in files}
    assert {path.name for path in secrets.iterdir()} == set(files)
    assert secrets.stat().st_mode & 0o777 == 0o700
    again = subprocess.run(
        ["sh", "secrets.sh", KEY], cwd=secrets.parent, capture_output=True, text=True, check=False
    )
    assert (again.returncode, "remove it first" in again.stderr) == (1, True)


def test_deedbox_takes_the_settings_of_every_service(secrets: Path) -> None:
    for service in composed.ours().values():
        loaded = Settings.load(_environment(service, secrets))
        ring = (KEY,) if "api_keys" in service["secrets"] else ()
        assert loaded.known_sources()["default"].api_keys == ring
        assert loaded.redis_url is not None
        assert str(loaded.documents.folder) == "/srv/documents"


def test_redis_gives_its_user_the_rights_that_the_page_names(secrets: Path) -> None:
    text = (ROOT / "docs" / "deploy.md").read_text("utf-8")
    (rights,) = re.findall(r"Least rights.*?`(~[^`]+)` and `(\+[^`]+)`", text, re.DOTALL)
    assert (secrets / "redis_acl").read_text("ascii").rstrip().endswith(" ".join(rights))


def test_rabbitmq_gets_the_user_of_the_brokers_url(secrets: Path) -> None:
    rows = (secrets / "rabbitmq_conf").read_text("ascii").splitlines()
    given = dict(row.split(" = ") for row in rows)
    url = (secrets / "broker_url").read_text("ascii").strip()
    host = composed.read()["services"]["rabbitmq"]["hostname"]
    assert (
        url == f"amqp://{given['default_user']}:{given['default_pass']}@{host}:5672/{given['default_vhost']}"
    )


@pytest.mark.real_redis
def test_redis_starts_as_composed_and_knows_the_user_of_its_url(secrets: Path, tmp_path: Path) -> None:
    service = composed.read()["services"]["redis"]
    words = [word.replace(MOUNTED, f"{secrets}/") for word in service["command"][1:]]
    port = free_port()
    with subprocess.Popen([server_binary(), *words, "--port", str(port), "--dir", str(tmp_path)],
                          stdout=subprocess.DEVNULL) as server:  # fmt: skip
        try:
            url = (
                (secrets / "redis_url").read_text("ascii").strip().replace("redis:6379", f"127.0.0.1:{port}")
            )
            with Redis.from_url(url, retry=Retry(NoBackoff(), 0)) as redis:
                until(lambda: _answers(redis), "Redis answers")
                persistence = redis.info("persistence")
                assert persistence["aof_enabled"] == 1
                assert redis.info("memory")["maxmemory_policy"] == "noeviction"
            with Redis(port=port) as anybody, pytest.raises(AuthenticationError):
                anybody.ping()
        finally:
            server.terminate()


def _answers(redis: Redis) -> bool:
    try:
        return bool(redis.ping())
    except RedisError:
        return False


def test_nginx_accepts_its_site(tmp_path: Path) -> None:
    if shutil.which("nginx") is None:
        missing("No nginx was found; install Debian's package nginx-light.")
    mounts = dict(mount.split(":")[:2] for mount in composed.read()["services"]["nginx"]["volumes"])
    callbacks, included = next(item for item in mounts.items() if "callbacks" in item[0])
    site = (composed.FOLDER / "nginx.conf").read_text("utf-8")
    assert f"include {included};" in site
    site = site.replace(included, str((composed.FOLDER / callbacks).resolve()))
    whole = tmp_path / "nginx.conf"
    whole.write_text(f"pid {tmp_path}/pid;\nevents {{}}\nhttp {{\naccess_log off;\n{site}\n}}\n")
    done = subprocess.run(
        ["nginx", "-t", "-q", "-c", str(whole), "-e", str(tmp_path / "error.log")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
