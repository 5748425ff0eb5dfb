"""The files for Heroku, Render, Fly and Railway: they name settings, commands and paths that exist, and lose nothing acknowledged."""

from __future__ import annotations

import re
import subprocess
from typing import Any, Final

import pytest

from deedbox.ingress.app import create_app
from deedbox.ops.supervise.processes import processes_per_lane, table
from deedbox.shared.settings import SECRETS, Settings
from tests.deploy import paas
from tests.deploy.processes import DEPLOY, ROOT

SETTINGS: Final = {str(field.alias) for field in Settings.model_fields.values()}
PAGE: Final = (ROOT / "docs" / "paas.md").read_text("utf-8")


def _given(service: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["key"]: each for each in service["envVars"]}


def test_every_setting_of_every_file_exists() -> None:
    texts = [path.read_text("utf-8") for path in paas.FOLDER.rglob("*") if path.is_file()]
    named = {name for text in [*texts, PAGE] for name in re.findall(r"DEEDBOX_[A-Z_]+", text)}
    assert len(named) > 6
    assert named <= SETTINGS


def test_nothing_acknowledged_stays_on_a_disk_that_does_not_last() -> None:
    web = _given(paas.services()["deedbox-web"])
    assert paas.FLY["env"]["DEEDBOX_SPOOL"] == web["DEEDBOX_SPOOL"]["value"] == "off"
    assert paas.APP["env"]["DEEDBOX_SPOOL"]["value"] == "off"
    assert "DEEDBOX_SPOOL=off" in PAGE.partition("## Railway")[2]
    assert paas.APP["env"]["DEEDBOX_DOCUMENTS_URL"]["required"] is True
    for name in ("worker", "documents", "ops"):
        assert "DEEDBOX_DOCUMENTS_URL" in _given(paas.services()[f"deedbox-{name}"])
    assert "DEEDBOX_DOCUMENTS_URL" in PAGE.partition("## Fly")[2].partition("## ")[0]
    assert "DEEDBOX_DOCUMENTS_URL" in PAGE.partition("## Railway")[2]


def test_every_health_check_asks_an_address_of_web() -> None:
    settings = Settings.load({"DEEDBOX_API_KEYS": "k", "DEEDBOX_REDIS_URL": "redis://elsewhere/0"})
    known = {str(rule) for rule in create_app(settings).url_map.iter_rules()}
    [fly] = paas.FLY["http_service"]["checks"]
    asked = {
        fly["path"],
        paas.services()["deedbox-web"]["healthCheckPath"],
        paas.RAILWAY["deploy"]["healthcheckPath"],
    }
    assert asked == {"/healthz"} <= known


def test_every_platform_builds_the_image_of_this_repository() -> None:
    image = DEPLOY / "Dockerfile"
    assert (paas.FOLDER / paas.FLY["build"]["dockerfile"]).resolve() == image
    assert (ROOT / paas.RAILWAY["build"]["dockerfilePath"]).resolve() == image
    for service in paas.services().values():
        assert (ROOT / service["dockerfilePath"]).resolve() == image
        assert (ROOT / service["dockerContext"]).resolve() == ROOT
    assert paas.FLY["http_service"]["internal_port"] == Settings.load({}).port


def test_the_containers_are_told_to_stop_by_the_signal_that_stops_them() -> None:
    assert paas.FLY["kill_signal"] == "SIGTERM"


def test_one_container_for_all_has_the_time_that_up_needs_to_stop() -> None:
    assert paas.RAILWAY["deploy"]["startCommand"] == "deedbox up"
    settings = Settings.load({"DEEDBOX_REDIS_URL": "redis://elsewhere/0"})
    programs = table(settings, processes_per_lane(["default", "documents"]), {})
    # What receives stops first, then what works.
    longest = {each.priority: max(other.stop_wait_s for other in programs if other.priority == each.priority) for each in programs}  # fmt: skip
    assert paas.RAILWAY["deploy"]["drainingSeconds"] > sum(longest.values())
    assert paas.RAILWAY["deploy"]["numReplicas"] == 1


def test_no_secret_of_a_service_on_render_is_in_the_file() -> None:
    defined = _given(paas.services()["deedbox-web"])
    for service in paas.services().values():
        for each in _given(service).values():
            assert "value" not in each or each["key"] not in SECRETS
            source = each.get("fromService", {})
            if "envVarKey" in source:
                assert (source["name"], source["envVarKey"]) == ("deedbox-web", each["key"])
                assert each["key"] in defined


def test_the_redis_on_render_evicts_nothing_and_is_no_broker() -> None:
    [redis] = [each for each in paas.RENDER["services"] if each["type"] == "keyvalue"]
    assert (redis["maxmemoryPolicy"], redis["ipAllowList"]) == ("noeviction", [])
    assert "fromService" not in _given(paas.services()["deedbox-web"])["DEEDBOX_BROKER_URL"]


def test_the_dynos_are_the_lines_of_the_procfile() -> None:
    lines = re.findall(r"^(\w+): ", (ROOT / "Procfile").read_text("utf-8"), re.MULTILINE)
    assert list(paas.APP["formation"]) == lines
    scaled = dict(re.findall(r"(\w+)=(\d)", re.findall(r"heroku ps:scale (.*)", PAGE)[0]))
    assert scaled == {
        name: str(each["quantity"]) for name, each in paas.APP["formation"].items() if each["quantity"]
    }


@pytest.mark.parametrize(
    "own", [{}, {"DEEDBOX_REDIS_URL": "redis://mine/0", "DEEDBOX_BROKER_URL": "amqp://mine/"}]
)
def test_a_dyno_takes_the_addresses_that_heroku_gives_unless_there_are_others(own: dict[str, str]) -> None:
    theirs = {"REDIS_URL": "rediss://:secret@host:6380", "CLOUDAMQP_URL": "amqps://u:secret@host/vhost"}
    script = f'. {paas.HEROKU}/.profile; printf \'%s\\n%s\' "$DEEDBOX_REDIS_URL" "$DEEDBOX_BROKER_URL"'
    done = subprocess.run(
        ["bash", "-ec", script], env={**theirs, **own}, capture_output=True, text=True, check=True
    )
    redis, broker = done.stdout.splitlines()
    loaded = Settings.load({"DEEDBOX_REDIS_URL": redis, "DEEDBOX_BROKER_URL": broker})
    assert loaded.redis_url is not None
    if own:
        assert {"DEEDBOX_REDIS_URL": redis, "DEEDBOX_BROKER_URL": broker} == own
    else:
        assert (redis, broker) == (
            "rediss://:secret@host:6380?ssl_cert_reqs=none",
            "amqps://u:secret@host/vhost",
        )


def test_web_on_heroku_listens_where_the_router_reaches_it() -> None:
    given = {name: each["value"] for name, each in paas.APP["env"].items() if "value" in each}
    assert Settings.load({**given, "PORT": "5000"}).bind == "0.0.0.0"  # noqa: S104 - a dyno's own network
