"""The pages of the dashboard."""

from __future__ import annotations

from flask import Blueprint, render_template

from ops.installation import Installation
from ops.readmodels import status


def create_pages(installation: Installation) -> Blueprint:
    """Return the routes."""
    blueprint = Blueprint("pages", __name__)

    @blueprint.get("/")
    def overview() -> str:
        return render_template("overview.html", status=status.look(installation))

    return blueprint
