"""Puts the API together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from flask import Blueprint, jsonify
from werkzeug.wrappers import Response

from deedbox.ops.installation import Installation
from deedbox.ops.web.api import documents, events, look_ups, openapi, queues, requests, writes
from deedbox.ops.web.api.operations import Operation, register
from deedbox.ops.web.api.waiting import LIFETIME, WaitingRoom
from deedbox.ops.web.api.watcher import Lifetime

OPERATIONS: Final[tuple[Operation, ...]] = (
    openapi.OPERATION,
    queues.OPERATION,
    look_ups.OPERATION,
    requests.OPERATION,
    documents.OPERATION,
    events.OPERATION,
    *writes.OPERATIONS,
)


def create_api(installation: Installation) -> Blueprint:
    """Return the routes. Opens no connection and starts no thread before somebody waits. Raises SettingsError."""
    room = WaitingRoom(installation)
    description = openapi.describe(OPERATIONS)

    def described() -> Response:
        return jsonify(description)

    views: dict[str, Callable[..., Any]] = {
        openapi.OPERATION.name: described,
        queues.OPERATION.name: queues.queues(installation),
        look_ups.OPERATION.name: look_ups.look_up_view(installation),
        requests.OPERATION.name: requests.request_view(room),
        documents.OPERATION.name: documents.document_view(room, installation.documents),
        events.OPERATION.name: events.events_view(room),
        **{each.name: writes.write_view(installation, each.name) for each in writes.OPERATIONS},
    }
    blueprint = Blueprint("api", __name__)
    for operation in OPERATIONS:
        register(blueprint, operation, views[operation.name])
    blueprint.record(lambda state: state.app.extensions.setdefault(LIFETIME, Lifetime()))
    return blueprint
