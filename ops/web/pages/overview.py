"""The overview of the dashboard, and what it asks for while it is open."""

from __future__ import annotations

import time
from functools import partial
from http import HTTPStatus
from typing import Any, Final

from flask import Blueprint, jsonify, render_template, request
from werkzeug.wrappers import Response

from deedbox.ops.charts import charts, samples
from deedbox.ops.installation import Installation
from deedbox.ops.readmodels import attention, overview
from deedbox.ops.web.fresh import Fresh
from deedbox.ops.web.pages import cards
from deedbox.shared.core.errors import DeedboxError

KEEP_S: Final = 0.9
"""Pages poll every 2 s: each sees something new, and ten of them cost what one does."""

CHARTS_KEEP_S: Final = 5.0
ROWS: Final = 12
"""Rows of the table that stands beside a chart."""

HOURS: Final = 6
"""What the charts show unless told otherwise."""

Answer = tuple[str, int]


def create_overview(installation: Installation) -> Blueprint:
    """Return the routes."""
    blueprint = Blueprint("pages", __name__)
    looks = Fresh(partial(overview.look, installation), KEEP_S)
    drawn = {hours: Fresh(partial(_charts, installation, hours), CHARTS_KEEP_S) for hours in charts.HOURS}

    @blueprint.get("/")
    def overview_page() -> Answer:
        hours = _hours()
        seen, code = _overview(installation, looks)
        try:
            # Not looked for while the overview found Redis away: each look costs its own time-out.
            page = drawn[hours].get() if seen["seen"] else None
        except DeedboxError:
            page = None
        page = page or charts.page([], hours, time.time())
        return render_template("overview.html", **seen, page=page, rows=_rows(page), spans=charts.HOURS), code

    @blueprint.get("/live/overview")
    def live() -> Answer:
        seen, code = _overview(installation, looks)
        return render_template("_live.html", **seen), code

    @blueprint.get("/live/charts")
    def live_charts() -> Response:
        return jsonify(drawn[_hours()].get().document())

    return blueprint


def _overview(installation: Installation, looks: Fresh[overview.Overview]) -> tuple[dict[str, Any], int]:
    """Look; an outage of the state's Redis is something to show here, because an operator comes to see it."""
    try:
        seen = looks.get()
    except DeedboxError as error:
        return _outage(installation.explained(error), looks.last()), int(HTTPStatus.SERVICE_UNAVAILABLE)
    return {"seen": seen, **_cards(seen)}, int(HTTPStatus.OK)


def _outage(sentence: str, old: overview.Overview | None) -> dict[str, Any]:
    """Show what does not answer, and what was seen last, marked as old."""
    return {
        "seen": None,
        "outage": attention.redis_away(sentence),
        "old": old,
        **(_cards(old) if old else {}),
    }


def _cards(seen: overview.Overview) -> dict[str, Any]:
    return {"flow": cards.flow(seen), "lanes": cards.lanes(seen), "aside": cards.aside(seen)}


def _charts(installation: Installation, hours: int) -> charts.ChartPage:
    now = time.time()
    return charts.page(samples.read(installation.redis, now - hours * 3600), hours, now)


def _hours() -> int:
    asked = request.args.get("hours", "")
    return int(asked) if asked in map(str, charts.HOURS) else HOURS


def _rows(page: charts.ChartPage) -> list[int]:
    """Return the steps that a chart's table shows, the newest first."""
    count = len(page.times)
    every = max(1, count // ROWS)
    return list(range(count - 1, -1, -every))[:ROWS]
