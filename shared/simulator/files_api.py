"""The simulated API ``/v3``: account, signature requests and their files, with the vendor's errors and headers."""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any, Final

from flask import Flask, Response, jsonify, make_response, request
from werkzeug.exceptions import HTTPException

from deedbox.shared.simulator.api_state import OK, ApiState, CallWindow, Endpoint, FilesApiPolicy, FileType
from deedbox.shared.simulator.lifecycle import Account, SimulatedCallback
from deedbox.shared.simulator.loopback import LoopbackServer

_ERRORS: Final[Mapping[int, tuple[str, str]]] = {
    400: ("bad_request", "Bad request."),
    401: ("unauthorized", "Unauthorized api key"),
    402: ("payment_required", "The plan does not include this call."),
    403: ("forbidden", "This account may not see the resource."),
    404: ("not_found", "Not found"),
    405: ("method_not_supported", "Method not supported."),
    409: ("conflict", "An identical request is already being processed"),
    410: ("deleted", "The resource was deleted."),
    422: ("unprocessable_entity", "The files are in an error state."),
    429: ("exceeded_rate", "Exceeded API rate limit."),
    500: ("unknown", "Unknown error."),
    503: ("unavailable", "Try again later."),
}
"""Status: error_name (the closed list of docs/protocol.md, section 6) and a text that no program should depend on."""

_UNAUTHORIZED: Final = 401
_PAGE_SIZE_DEFAULT: Final = 20
_PAGE_SIZE_MAX: Final = 100
_CREATED: Final = re.compile(r"created:\[(\d{4}-\d\d-\d\d) TO (\d{4}-\d\d-\d\d)\]", re.ASCII)


class FilesApi:
    """A server for one account. ``state`` scripts faults and is asked for what was answered."""

    def __init__(
        self,
        account: Account,
        policy: FilesApiPolicy,
        *,
        callback_url: str | None = None,
        host: str = "127.0.0.1",
        now: Callable[[], float] = time.time,
    ) -> None:
        self.state = ApiState(policy, now)
        self.callback_url = callback_url
        """What the account says its callback URL is; None: Dropbox Sign has cleared it."""
        self.apps: dict[str, str | None] = {}
        """The account's API apps: client id -> callback URL."""
        self._account = account
        self._server = LoopbackServer(_app(self), host)

    @property
    def url(self) -> str:
        """Base URL, ending in ``/v3``, once started."""
        return self._server.url + "/v3"

    def start(self, port: int = 0) -> None:
        """Listen and serve in a thread. Raises OSError if the port is taken."""
        self._server.start(port)

    def stop(self) -> None:
        """Stop serving."""
        self._server.stop()

    def advance(self, callback: SimulatedCallback) -> None:
        """Let an event have happened: the API shows at least what the callback's snapshot shows."""
        self.state.advance(callback)

    def script(
        self, signature_request_id: str, statuses: Iterable[int], endpoint: Endpoint = Endpoint.FILES
    ) -> None:
        """Answer the next calls for this request with these statuses, then as usual."""
        self.state.script(endpoint, signature_request_id, statuses)

    def sha256_of(self, signature_request_id: str, file_type: str = "pdf") -> str:
        """Return the hexadecimal SHA-256 of a request's final document, known before it is complete."""
        return self.state.sha256_of(signature_request_id, FileType(file_type))

    def calls(self) -> dict[tuple[Endpoint, int], int]:
        """Return how often each endpoint answered with each status."""
        return self.state.calls()

    def authorized(self, user_name: str) -> bool:
        """Return whether this HTTP Basic user name is the account's API key."""
        return hmac.compare_digest(user_name.encode(), self._account.api_key.encode())

    def account_document(self) -> dict[str, Any]:
        """Return the ``account`` object."""
        return {
            "account_id": self._account.account_id,
            "email_address": self._account.email_address,
            "is_locked": False,
            "is_paid_hs": True,
            "is_paid_hf": False,
            "quotas": {"api_signature_requests_left": 1_000, "documents_left": 1_000, "templates_left": 10},
            "callback_url": self.callback_url,
            "role_code": None,
            "team_id": None,
            "locale": "en-US",
        }


def _app(api: FilesApi) -> Flask:
    app = Flask("deedbox-simulator")

    @app.get("/v3/account")
    def account() -> Response:
        return _answer(api, Endpoint.ACCOUNT, "", lambda: jsonify(account=api.account_document()))

    @app.put("/v3/account")
    def update_account() -> Response:
        return _answer(api, Endpoint.ACCOUNT, "", lambda: _update_account(api))

    @app.get("/v3/api_app/<client_id>")
    def api_app(client_id: str) -> Response:
        return _answer(api, Endpoint.API_APP, client_id, lambda: _show_app(api, client_id))

    @app.put("/v3/api_app/<client_id>")
    def update_api_app(client_id: str) -> Response:
        return _answer(api, Endpoint.API_APP, client_id, lambda: _update_app(api, client_id))

    @app.get("/v3/signature_request/list")
    def listing() -> Response:
        return _answer(api, Endpoint.LIST, "", lambda: _page(api))

    @app.get("/v3/signature_request/<signature_request_id>")
    def one(signature_request_id: str) -> Response:
        return _answer(
            api, Endpoint.REQUEST, signature_request_id, lambda: _snapshot(api, signature_request_id)
        )

    @app.get("/v3/signature_request/files/<signature_request_id>")
    def files(signature_request_id: str) -> Response:
        return _answer(api, Endpoint.FILES, signature_request_id, lambda: _files(api, signature_request_id))

    @app.errorhandler(HTTPException)
    def refuse(error: HTTPException) -> Response:
        return _error(error.code or 500)

    return app


def _answer(
    api: FilesApi, endpoint: Endpoint, signature_request_id: str, answer: Callable[[], Response]
) -> Response:
    """Authorize, charge the budget, play a fault if one is due, or answer; and count what came of it."""
    credentials = request.authorization
    if credentials is None or credentials.type != "basic" or not api.authorized(credentials.username or ""):
        response = _error(_UNAUTHORIZED)
    else:
        status, budget = api.state.admit(endpoint, signature_request_id)
        response = answer() if status == OK else _error(status)
        _show_budget(response, budget)
    api.state.count(endpoint, response.status_code)
    return response


def _update_account(api: FilesApi) -> Response:
    url = _callback_url()
    if url is None:
        return _error(400)
    api.callback_url = url
    return jsonify(account=api.account_document())


def _show_app(api: FilesApi, client_id: str) -> Response:
    if client_id not in api.apps:
        return _error(404)
    shown: dict[str, Any] = {"client_id": client_id, "name": "Simulated", "domains": []}
    shown["callback_url"] = api.apps[client_id]
    return jsonify(api_app=shown)


def _update_app(api: FilesApi, client_id: str) -> Response:
    url = _callback_url()
    if client_id not in api.apps:
        return _error(404)
    if url is None:
        return _error(400)
    api.apps[client_id] = url
    return _show_app(api, client_id)


def _callback_url() -> str | None:
    """Return the URL that a call sets; None for what the API would not take."""
    document = request.get_json(silent=True)
    url = document.get("callback_url") if isinstance(document, dict) else None
    return url if isinstance(url, str) and url.startswith("https://") else None


def _snapshot(api: FilesApi, signature_request_id: str) -> Response:
    snapshot = api.state.snapshot(signature_request_id)
    return _error(404) if snapshot is None else jsonify(signature_request=snapshot)


def _files(api: FilesApi, signature_request_id: str) -> Response:
    try:
        file_type = FileType(request.args.get("file_type", FileType.PDF))
    except ValueError:
        return _error(400)
    status, body = api.state.download(signature_request_id, file_type)
    if status != OK:
        return _error(status)
    response = make_response(body)
    response.mimetype = f"application/{file_type}"
    response.headers["Content-Disposition"] = f'attachment; filename="{signature_request_id}.{file_type}"'
    return response


def _page(api: FilesApi) -> Response:
    page = max(request.args.get("page", 1, type=int), 1)
    size = min(max(request.args.get("page_size", _PAGE_SIZE_DEFAULT, type=int), 1), _PAGE_SIZE_MAX)
    try:
        begin, end = _created(request.args.get("query"))
    except ValueError:
        return _error(400)
    every = [shown for shown in api.state.snapshots() if begin <= shown["created_at"] < end]
    return jsonify(
        list_info={
            "page": page,
            "num_pages": -(-len(every) // size),
            "num_results": len(every),
            "page_size": size,
        },
        signature_requests=every[(page - 1) * size : page * size],
    )


def _created(query: str | None) -> tuple[float, float]:
    """Read the one search that is played: ``created:[2026-01-01 TO 2026-01-31]``, both days included.

    Returns unix seconds, the end excluded. Raises ValueError.
    """
    if query is None:
        return 0.0, inf
    match = _CREATED.fullmatch(query)
    if match is None:
        raise ValueError(query)
    first, last = (datetime.fromisoformat(day).replace(tzinfo=UTC) for day in match.groups())
    return first.timestamp(), (last + timedelta(days=1)).timestamp()


def _error(status: int) -> Response:
    name, message = _ERRORS.get(status, ("unknown", "Unknown error."))
    response = jsonify(error={"error_msg": message, "error_name": name})
    response.status_code = status
    return response


def _show_budget(response: Response, budget: CallWindow) -> None:
    """Set the rate-limit headers, spelled as the vendor's specification has them; it sends no Retry-After."""
    response.headers["X-RateLimit-Limit"] = str(budget.limit)
    response.headers["X-RateLimit-Remaining"] = str(budget.remaining)
    response.headers["X-Ratelimit-Reset"] = str(budget.reset_at)
