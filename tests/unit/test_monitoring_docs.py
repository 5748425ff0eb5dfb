"""What is in ``deploy/`` for Prometheus and Grafana names only what exists, and each alert says what to do."""

from __future__ import annotations

import itertools
import json
import re

import pytest

from tests.support.dashboard import DEPLOY, PROMETHEUS, alerts, dashboard, queries
from tests.support.metrics_table import table

PANELS = dashboard()["panels"]


def _known() -> set[str]:
    shapes = {**table("ops"), **table("ingress")}
    return {
        name + suffix
        for name, (kind, _) in shapes.items()
        for suffix in (("_bucket", "_sum", "_count") if kind == "histogram" else ("",))
    }


@pytest.mark.parametrize(
    "file", ["prometheus/rules.yaml", "prometheus/rules_test.yaml", "grafana/deedbox.json"]
)
def test_rules_and_dashboard_name_only_metrics_that_are_exported(file: str) -> None:
    text = (DEPLOY / file).read_text("utf-8")
    named = {name.removesuffix("_test") for name in re.findall(r"\bdeedbox_\w+", text)}
    assert named - _known() == set()


def test_names_follow_the_convention() -> None:
    for name, (kind, _) in {**table("ops"), **table("ingress")}.items():
        assert name.endswith("_total") == (kind == "counter"), name
        assert not re.search(r"_(ms|milliseconds|minutes|kb|mb)\b", name), name


@pytest.mark.parametrize("alert", alerts())
def test_every_alert_has_a_severity_a_case_that_fires_and_a_heading_in_the_runbook(alert: str) -> None:
    rules = (PROMETHEUS / "rules.yaml").read_text("utf-8")
    rule = rules.partition(f"- alert: {alert}\n")[2].partition("- alert: ")[0]
    assert re.search(r"severity: (critical|warning)\n", rule)
    assert f"runbook_url: deploy/runbook.md#{alert.lower()}\n" in rule
    assert f"\n#### {alert}\n" in (DEPLOY / "runbook.md").read_text("utf-8")
    assert re.search(
        rf"(alertname: |alertname=\"){alert}\b", (PROMETHEUS / "rules_test.yaml").read_text("utf-8")
    )


def test_the_runbook_has_no_heading_for_an_alert_that_does_not_exist() -> None:
    headings = re.findall(r"^#### (Deedbox\w+)$", (DEPLOY / "runbook.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(headings) == sorted(alerts())


def test_every_query_of_the_dashboard_asks_the_chosen_prometheus() -> None:
    names = {variable["name"]: variable["type"] for variable in dashboard()["templating"]["list"]}
    assert names["datasource"] == "datasource"
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    for panel in PANELS:
        for target in panel.get("targets", []):
            assert target["datasource"] == panel["datasource"] == chosen
    used = set(re.findall(r"\$(\w+)", json.dumps([t["expr"] for p in PANELS for t in p.get("targets", [])])))
    assert used <= {*names, "__rate_interval", "__interval"}


def test_the_panels_of_the_dashboard_lie_side_by_side() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    places = [panel["gridPos"] for panel in PANELS]
    assert all(p["x"] >= 0 and p["x"] + p["w"] <= 24 for p in places)
    for one, other in itertools.combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below


def test_every_metric_but_the_build_is_on_the_dashboard_or_in_an_alert() -> None:
    text = json.dumps(queries()) + (PROMETHEUS / "rules.yaml").read_text("utf-8")
    unseen = {name for name in {**table("ops"), **table("ingress")} if name not in text}
    assert unseen == {
        "deedbox_build_info", "deedbox_ingress_build_info", "deedbox_api_budget_calls",
        "deedbox_callbacks_too_old_total", "deedbox_callbacks_unsigned_total", "deedbox_callbacks_better_body_total",
        "deedbox_callbacks_undecodable_total", "deedbox_callbacks_misplaced_total",
        "deedbox_requests_crowded_total",
        "deedbox_source_last_test_timestamp_seconds",
    }  # fmt: skip
