"""One table says which process gets which secret (``ops/supervise/secrets.py``): every artefact hands out that, and no more."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from typing import Any, Final

import pytest

from deedbox.ops.supervise.secrets import NEEDED, process_type
from deedbox.shared.redis.keys import RESERVED_LANES
from deedbox.shared.settings import SECRETS
from tests.deploy import composed, manifests, paas, units
from tests.deploy.processes import secrets_of

USED: Final = {"DEEDBOX_API_KEYS", "DEEDBOX_REDIS_URL", "DEEDBOX_BROKER_URL", "DEEDBOX_OPS_TOKEN"}
"""The secrets that these files hand out: the others are for some installations."""

Handed = dict[str, set[str]]
"""A command, and the secrets that its process gets."""


def _secrets(names: Iterable[str]) -> set[str]:
    return {name.removesuffix("_FILE") for name in names} & set(SECRETS)


def compose() -> Handed:
    """Return what the services have; a secret that no setting names counts too."""
    files = {
        value: name for service in composed.ours().values() for name, value in service["environment"].items()
    }
    return {
        shlex.join(service["command"]): _secrets(
            [*service["environment"], *(files[f"/run/secrets/{each}"] for each in service["secrets"])]
        )
        for service in composed.ours().values()
    }


def kubernetes() -> Handed:
    """Return what the pods have."""
    return {
        shlex.join(manifests.container(each)["command"]): _secrets(
            variable["name"] for variable in manifests.container(each)["env"]
        )
        for each in manifests.workloads().values()
    }


def render() -> Handed:
    """Return what the services have."""

    def names(service: dict[str, Any]) -> list[str]:
        return [each["key"] for each in service["envVars"]]

    return {service["dockerCommand"]: _secrets(names(service)) for service in paas.services().values()}


@pytest.mark.parametrize("artefact", [compose, kubernetes, render])
def test_a_process_gets_the_secrets_that_it_needs_and_no_others(artefact: Callable[[], Handed]) -> None:
    found = artefact()
    assert len(found) > 6
    assert found == {command: set(secrets_of(command)) & USED for command in found}


def test_a_unit_of_systemd_gets_the_files_that_it_needs_and_no_others() -> None:
    """What is not in its own file is in the common one; a lane that the target does not start has its unit, too."""
    needs = {"api_keys": "DEEDBOX_API_KEYS", "ops.env": "DEEDBOX_OPS_TOKEN"}
    lanes = {f"deedbox-worker@{lane}.service" for lane in (*RESERVED_LANES, "crm")}
    for unit in lanes.union(units.wanted_by_target()):
        name = unit.removesuffix(".service").removeprefix("deedbox-").replace("worker@", "worker-")
        needed = NEEDED[process_type(name)]
        handed = {file for file, setting in needs.items() if setting in needed}
        assert units.secrets(unit) == (handed, "api_keys" in handed), unit


def test_no_lane_of_a_user_is_taken_for_another_process() -> None:
    """A lane may have any name: it gives its processes no token, and no process fewer secrets."""
    own = {kind for kind in NEEDED if process_type(f"worker-{kind}") != "worker"}
    assert own == RESERVED_LANES - {"documents"}
