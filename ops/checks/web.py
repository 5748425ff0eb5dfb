"""The check that asks the web process of this host whether it takes callbacks."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any, Final

from deedbox.ops.checks.finding import Finding, failed, ok, warning
from deedbox.ops.supervise.readiness import web_host
from deedbox.ops.wording import commands
from deedbox.shared.core.reasons import Refusal
from deedbox.shared.settings import Settings

NAME: Final = "web"
_PATIENCE_S: Final = 5.0
_MAX_BYTES: Final = 10_000


def check(settings: Settings) -> Iterator[Finding]:
    """Say what ``/readyz`` says: it knows of a full spool also while Redis is away. Web may run on other hosts only."""
    host, port = web_host(settings), settings.port
    answer = _readiness(host, port)
    error, notice = answer.get("error"), answer.get("warning")
    if error in set(Refusal):
        fix = f"`{commands.runbook(error)}` says what to do"
        yield failed(
            NAME, f"the web process of this host refuses callbacks: {answer.get('detail', error)}", fix
        )
    elif answer.get("status") != "ready":
        yield ok(NAME, f"no web process of this host answers at {host}:{port} (PORT); it may run on others")
    elif notice:
        yield warning(NAME, f"the web process of this host takes callbacks; {notice}")
    else:
        yield ok(NAME, "the web process of this host takes callbacks")


def _readiness(host: str, port: int) -> dict[str, Any]:
    # No urllib.request: it would send the question to a proxy that the environment names.
    connection = http.client.HTTPConnection(host, port, timeout=_PATIENCE_S)
    try:
        connection.request("GET", "/readyz")
        found = json.loads(connection.getresponse().read(_MAX_BYTES))
    except (OSError, ValueError, http.client.HTTPException):
        return {}
    finally:
        connection.close()
    return found if isinstance(found, dict) else {}
