"""``deploy/grafana/deedbox.json`` and ``deploy/prometheus/rules.yaml`` as tests read them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

DEPLOY = Path(__file__).parents[2] / "deploy"
PROMETHEUS = DEPLOY / "prometheus"


def dashboard() -> dict[str, Any]:
    """Return the Grafana dashboard."""
    found: dict[str, Any] = json.loads((DEPLOY / "grafana" / "deedbox.json").read_text("utf-8"))
    return found


def queries() -> dict[str, list[str]]:
    """Return the expressions of each panel by its title, with Grafana's variables filled in."""
    return {
        panel["title"]: [_filled(target["expr"]) for target in panel["targets"]]
        for panel in dashboard()["panels"]
        if panel["type"] != "row"
    }


def _filled(expression: str) -> str:
    filled = expression.replace("$__rate_interval", "10s").replace("$__interval", "10s")
    return re.sub(r"\$(source|lane|stage)\b", ".*", filled)


def alerts() -> list[str]:
    """Return the names of the alerts."""
    return re.findall(r"- alert: (\w+)", (PROMETHEUS / "rules.yaml").read_text("utf-8"))
