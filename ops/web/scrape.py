"""``/metrics``: what Prometheus scrapes."""

from __future__ import annotations

from flask import Blueprint, Response, request
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from deedbox.ops.installation import Installation
from deedbox.ops.metrics.collector import StateCollector
from deedbox.ops.metrics.reading import read
from deedbox.ops.web.auth.guard import impersonal


def create_scrape(installation: Installation) -> Blueprint:
    """Return the route."""
    blueprint = Blueprint("scrape", __name__)
    registry = CollectorRegistry()
    registry.register(StateCollector(lambda: read(installation)))

    @blueprint.get("/metrics")
    @impersonal
    def metrics() -> Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return Response(encode(registry), content_type=content_type)

    return blueprint
