"""The shipped Kubernetes manifests."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from tests.component.workers.server import missing
from tests.deploy.processes import DEPLOY, Started

FOLDER: Final = DEPLOY / "kubernetes"
BASE: Final = FOLDER / "base"
KEDA: Final = FOLDER / "keda"

Manifest = dict[str, Any]


def files() -> list[Path]:
    """Return the files that the base lists."""
    listed = yaml.safe_load((BASE / "kustomization.yaml").read_text("utf-8"))["resources"]
    assert {path.name for path in BASE.glob("*.yaml")} == {*listed, "kustomization.yaml"}
    return [BASE / name for name in listed]


def manifests(*paths: Path) -> list[Manifest]:
    """Return what is in these files, or in the base."""
    return [each for path in paths or files() for each in yaml.safe_load_all(path.read_text("utf-8"))]


def of_kind(*kinds: str) -> dict[str, Manifest]:
    """Return the base's manifests of these kinds, by name."""
    return {each["metadata"]["name"]: each for each in manifests() if each["kind"] in kinds}


@cache
def workloads() -> dict[str, Manifest]:
    """Return what runs pods."""
    return of_kind("Deployment", "StatefulSet")


def pod(workload: Manifest) -> Manifest:
    """Return the specification of a workload's pods."""
    return dict(workload["spec"]["template"]["spec"])


def container(workload: Manifest) -> Manifest:
    """Return the only container of a workload's pods."""
    (only,) = pod(workload)["containers"]
    return dict(only)


def started() -> Started:
    """Return what the pods run; what comes before SIGTERM is not part of the grace."""
    found: Started = {}
    for workload in workloads().values():
        runs = container(workload)
        before = runs.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["sleep", "0"])
        assert before[0] == "sleep"
        found[shlex.join(runs["command"])] = pod(workload)["terminationGracePeriodSeconds"] - float(before[1])
    return found


def rendered(folder: Path) -> str:
    """Return what Kustomize makes of a folder; skips or fails without kubectl."""
    if shutil.which("kubectl") is None:
        missing("No kubectl was found; install Debian's package kubernetes-client.")
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
