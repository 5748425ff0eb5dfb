"""Composition root of ops: reads settings, opens clients, puts the parts together."""

from __future__ import annotations

import time
from collections.abc import Callable

from flask import Blueprint, Flask, jsonify
from flask.json.provider import DefaultJSONProvider
from werkzeug.wrappers import Response

from deedbox.ops.installation import Installation
from deedbox.ops.sessions import links, sessions
from deedbox.ops.web import errors
from deedbox.ops.web.api.blueprint import create_api
from deedbox.ops.web.auth import guard, tokens
from deedbox.ops.web.auth.access import LOCAL_HOSTS, AccessPolicy, host_name, networks
from deedbox.ops.web.auth.session import create_session
from deedbox.ops.web.pages import words
from deedbox.ops.web.pages.audit import create_audit_page
from deedbox.ops.web.pages.dead import create_dead_pages
from deedbox.ops.web.pages.events import create_event_pages
from deedbox.ops.web.pages.overview import create_overview
from deedbox.ops.web.pages.pauses import create_pause_pages, install_banner
from deedbox.ops.web.pages.plans import create_plan_pages
from deedbox.ops.web.pages.requests import create_request_pages
from deedbox.ops.web.pages.runbook import create_runbook
from deedbox.shared.runtime.ports import is_loopback
from deedbox.shared.settings import Settings

FORM_MAX_BYTES = 256 * 1024


class InOrder(DefaultJSONProvider):
    """JSON whose fields stand in their own order: stages in that of the flow, as `deedbox status --json` prints them."""

    sort_keys = False


def access_policy(settings: Settings) -> AccessPolicy:
    """Return what the settings say about access."""
    return AccessPolicy(
        hosts=LOCAL_HOSTS | {host_name(name) for name in settings.ops_hosts},
        loopback=is_loopback(settings.ops_bind),
        proxies=networks(settings.ops_trusted_proxies),
        user_header=settings.ops_proxy_user_header or "",
    )


def create_app(settings: Settings, clock: Callable[[], float] = time.time) -> Flask:
    """Return the application. Opens no connection. Raises SettingsError."""
    installation = Installation(settings)
    app = Flask("deedbox.ops.web", template_folder="templates", static_folder="static")
    app.config.update(MAX_CONTENT_LENGTH=FORM_MAX_BYTES, SEND_FILE_MAX_AGE_DEFAULT=3600)
    app.json = InOrder(app)
    errors.install(app, installation.explained)
    words.install(app, clock)
    watch = guard.Guard(
        app,
        tokens.load(settings),
        access_policy(settings),
        sessions(settings, clock),
        links(settings, clock),
        clock,
    )
    # Not before: it imports prometheus_client, which decides then whether several processes count together. Ingress needs
    # that, and is forked from the same fork server.
    from deedbox.ops.web.scrape import create_scrape

    app.register_blueprint(_health())
    app.register_blueprint(create_session(watch))
    for create in (
        *(create_overview, create_api, create_scrape, create_request_pages, create_dead_pages),
        *(create_pause_pages, create_audit_page, create_event_pages, create_plan_pages),
    ):
        app.register_blueprint(create(installation))
    install_banner(app, installation)
    app.register_blueprint(create_runbook())
    app.after_request(guard.secured)
    return app


def _health() -> Blueprint:
    blueprint = Blueprint("health", __name__)

    @blueprint.get("/healthz")
    @guard.public
    def healthz() -> Response:
        return jsonify(status="ok")

    return blueprint
