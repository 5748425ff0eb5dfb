"""The Kubernetes manifests: valid, closed in, and with names that lead to what is there."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
import yaml

from deedbox import __version__
from deedbox.ops.metrics import catalogue
from deedbox.ops.web.auth.access import LOCAL_HOSTS, host_name
from deedbox.shared.settings import SECRETS, Settings
from tests.component.workers.server import missing
from tests.deploy import manifests
from tests.deploy.manifests import BASE, KEDA, container, of_kind, pod, rendered, workloads
from tests.deploy.tools import check

LISTENING: Final = {"web", "ops"}
MOUNTED: Final = "/run/secrets/deedbox/"

ACCEPTED: Final = {
    "CKV_K8S_8": "bridge, workers and sweeper listen nowhere; one that cannot go on ends by itself",
    "CKV_K8S_9": "the same; no service sends them anything",
    "CKV_K8S_15": "the image has a fixed tag",
    "CKV_K8S_43": "the name of the image is the user's, and so is its digest",
}
"""What checkov would have otherwise, and why it is so."""


def test_kubernetes_accepts_every_manifest() -> None:
    assert check("kubernetes-validate", "--strict", "--quiet", *map(str, manifests.files())) == ""


def test_checkov_finds_nothing_but_what_is_accepted(tmp_path: Path) -> None:
    if shutil.which("checkov") is None:
        missing("No checkov was found; `uv tool install checkov`.")
    whole = tmp_path / "whole.yaml"
    whole.write_text(rendered(BASE), "utf-8")
    skipped = ",".join(ACCEPTED)
    done = subprocess.run(
        ["checkov", "--file", str(whole), "--framework", "kubernetes", "--skip-check", skipped,
         "--skip-download", "--compact", "--quiet"], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    # Without resources nothing would be checked either.
    assert int((re.search(r"Passed checks: (\d+)", done.stdout) or ["", "0"])[1]) > 400


@pytest.mark.parametrize("folder", [BASE, KEDA], ids=lambda folder: folder.name)
def test_kustomize_puts_everything_into_one_namespace_with_this_version_of_the_image(folder: Path) -> None:
    everything: list[dict[str, Any]] = list(yaml.safe_load_all(rendered(folder)))
    assert {each["metadata"].get("namespace", each["metadata"]["name"]) for each in everything} == {"deedbox"}
    (settings,) = (each["metadata"]["name"] for each in everything if each["kind"] == "ConfigMap")
    for each in everything:
        if each["kind"] in {"Deployment", "StatefulSet"}:
            runs = container(each)
            assert runs["image"] == f"registry.example.com/deedbox:{__version__}"
            assert runs["envFrom"] == [{"configMapRef": {"name": settings}}]


def _environment(workload: dict[str, Any]) -> dict[str, str]:
    shared = dict(row.split("=", 1) for row in (BASE / "settings.env").read_text("utf-8").splitlines())
    return {**shared, **{each["name"]: each["value"] for each in container(workload).get("env", [])}}


def test_every_secret_is_a_file_of_the_secret_that_the_base_tells_to_make(tmp_path: Path) -> None:
    made = set(re.findall(r"--from-file=(\w+)", (BASE / "kustomization.yaml").read_text("utf-8")))
    values = {"redis_url": "redis://redis:6379/0", "broker_url": "amqp://u:p@mq:5672/v"}
    for name in made:
        (tmp_path / name).write_text(values.get(name, "k" * 32))
    used = set()
    for name, workload in workloads().items():
        environment = _environment(workload)
        assert not set(SECRETS) & set(environment), name
        files = {
            key.removesuffix("_FILE"): value for key, value in environment.items() if key.endswith("_FILE")
        }
        Settings.load({key: value.replace(MOUNTED, f"{tmp_path}/") for key, value in environment.items()})
        mount = {each["mountPath"]: each for each in container(workload)["volumeMounts"]}[MOUNTED.rstrip("/")]
        assert mount["readOnly"] is True
        (secret,) = (each["secret"] for each in pod(workload)["volumes"] if each["name"] == mount["name"])
        assert (secret["secretName"], secret["defaultMode"]) == ("deedbox", 0o440)
        assert {MOUNTED + each["path"] for each in secret["items"]} == set(files.values()), name
        used |= {each["key"] for each in secret["items"]}
    assert used == made


def test_every_pod_is_closed_in_and_has_limits() -> None:
    for name, workload in workloads().items():
        assert pod(workload)["securityContext"]["runAsNonRoot"] is True, name
        runs = container(workload)
        assert runs["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        }, name  # fmt: skip
        assert set(runs["resources"]) == {"requests", "limits"}, name
        assert {probe for probe in runs if probe.endswith("Probe")} == (
            {"startupProbe", "livenessProbe", "readinessProbe"} if name in LISTENING else set()
        ), name


def test_the_probes_of_ops_use_a_name_that_ops_answers_to() -> None:
    runs = container(workloads()["ops"])
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        (header,) = runs[probe]["httpGet"]["httpHeaders"]
        assert header["name"] == "Host"
        assert host_name(header["value"]) in LOCAL_HOSTS


def test_services_lead_to_the_ports_on_which_web_and_ops_listen() -> None:
    for name, service in of_kind("Service").items():
        settings = Settings.load({})
        port = {"web": settings.port, "ops": settings.ops_port}[name]
        assert [each["port"] for each in service["spec"]["ports"]] == [port]
        assert [each["containerPort"] for each in container(workloads()[name])["ports"]] == [port]
        assert service["spec"]["selector"] == workloads()[name]["spec"]["selector"]["matchLabels"]


def test_whatever_runs_twice_keeps_one_while_nodes_are_emptied() -> None:
    budgets = of_kind("PodDisruptionBudget")
    assert {name for name, each in workloads().items() if each["spec"]["replicas"] > 1} <= set(budgets)
    for name, budget in budgets.items():
        assert budget["spec"]["maxUnavailable"] == 1
        assert budget["spec"]["selector"] == workloads()[name]["spec"]["selector"]


def test_only_what_calls_others_gets_out_to_the_internet() -> None:
    labels = {name: each["spec"]["template"]["metadata"]["labels"] for name, each in workloads().items()}
    outside = {name for name, each in labels.items() if each.get("deedbox/egress") == "https"}
    assert outside == {"worker", "documents", "ops"}
    policies = of_kind("NetworkPolicy")
    assert policies["nothing-else"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for name, policy in policies.items():
        selector = policy["spec"]["podSelector"].get("matchLabels", {})
        assert any(selector.items() <= each.items() for each in labels.values()), name


def test_keda_scales_lanes_by_metrics_that_ops_has() -> None:
    scaled = {each["metadata"]["name"]: each for each in manifests.manifests(KEDA / "scaled.yaml")}
    objects = {name: each for name, each in scaled.items() if each["kind"] == "ScaledObject"}
    assert set(objects) == {"worker", "documents"}
    known = {catalogue.STAGE_DEPTH.name, catalogue.STAGE_AGE.name}
    for name, each in objects.items():
        target = each["spec"]["scaleTargetRef"]["name"]
        command = container(workloads()[target])["command"]
        lane = command[command.index("--lane") + 1]
        triggers = [trigger["metadata"] for trigger in each["spec"]["triggers"]]
        assert {trigger["valueLocation"] for trigger in triggers} == {
            f'{metric}{{stage="lane:{lane}"}}' for metric in known
        }, name
        hosts = _environment(workloads()["ops"])["DEEDBOX_OPS_HOSTS"].split(",")
        for trigger in triggers:
            address = urlsplit(trigger["url"])
            assert (address.hostname in hosts, address.port, address.path) == (True, 8001, "/metrics")
