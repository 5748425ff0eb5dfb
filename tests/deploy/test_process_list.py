"""The list of processes exists once: every artefact starts what ``deedbox up`` starts."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.deploy import composed, manifests, paas, units
from tests.deploy.processes import ROOT, Started, wanted


def procfile() -> Started:
    """Return the lines of the Procfile; its hosts have no other time to end than their own."""
    rows = (ROOT / "Procfile").read_text("utf-8").splitlines()
    commands = [row.partition(": ")[2] for row in rows if not row.startswith("#")]
    return {command: float("inf") for command in commands}


ARTEFACTS: dict[str, Callable[[], Started]] = {
    "Procfile": procfile,
    "systemd": units.started,
    "compose": composed.started,
    "Kubernetes": manifests.started,
    "Fly": paas.fly,
    "Render": paas.render,
}


@pytest.mark.parametrize("artefact", ARTEFACTS)
def test_an_artefact_starts_what_up_starts(artefact: str) -> None:
    assert set(ARTEFACTS[artefact]()) == set(wanted())


@pytest.mark.parametrize("artefact", ARTEFACTS)
def test_no_artefact_kills_a_process_earlier_than_up_does(artefact: str) -> None:
    early = {command: grace for command, grace in ARTEFACTS[artefact]().items() if grace < wanted()[command]}
    assert early == {}
