"""Who changed what: the audit, a page at a time. Read only."""

from __future__ import annotations

from typing import Final

from flask import Blueprint, render_template, request

from deedbox.ops.installation import Installation
from deedbox.shared.audit import audit_log

PER_PAGE: Final = 50


def create_audit_page(installation: Installation) -> Blueprint:
    """Return the route."""
    blueprint = Blueprint("audit", __name__)

    @blueprint.get("/audit")
    def listing() -> str:
        start = min(audit_log.KEEP, max(0, request.args.get("from", 0, type=int)))
        return render_template(
            "audit.html",
            found=audit_log.read(installation.redis, PER_PAGE, start),
            start=start,
            per_page=PER_PAGE,
            total=audit_log.count(installation.redis),
            keep=audit_log.KEEP,
        )

    return blueprint
