"""The Flask application of a web process, with a short way for callbacks: the same answers for a third of the time.

Almost all requests are a POST to a source that exists. Those are read and answered here, from the WSGI environment;
everything else goes through Flask, and so do these as soon as somebody has extended the application: whoever adds
``before_request``, a signal or a trusted host expects to see each request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Final

from flask import Flask, Response, signals
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge
from werkzeug.http import HTTP_STATUS_CODES
from werkzeug.wsgi import get_input_stream

from deedbox.ingress.receive.receiver import CutShort, Receiver

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

PATH: Final = "/callbacks"

_PRESERVE: Final = "werkzeug.debug.preserve_context"
"""Set by a test client that wants to look at the request afterwards."""

_SIGNALS: Final = (
    signals.request_started,
    signals.request_finished,
    signals.request_tearing_down,
    signals.appcontext_pushed,
    signals.appcontext_popped,
    signals.appcontext_tearing_down,
    signals.got_request_exception,
)


class Application(Flask):
    """Flask, and callbacks without it."""

    def __init__(self, name: str, failed: Callable[[Exception], Response]) -> None:
        """``failed``: the answer to a request that ended in a bug."""
        super().__init__(name, static_folder=None)
        self._failed = failed
        self._receiver: Receiver | None = None
        self._sources: Mapping[str, str] = {}

    def shorten(self, receiver: Receiver, sources: Iterable[str]) -> None:
        """Begin to take the short way for callbacks to these sources."""
        addresses = {f"{PATH}/{name}": name for name in sources} | {PATH: "default"}
        self._sources = addresses | {f"{path}/": name for path, name in addresses.items()}
        self._receiver = receiver

    def wsgi_app(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request. Middleware goes around this, as around that of any Flask application."""
        receiver = self._receiver
        source = (
            self._sources.get(environ.get("PATH_INFO", "")) if environ["REQUEST_METHOD"] == "POST" else None
        )
        if receiver is None or source is None or _PRESERVE in environ or self._is_watched():
            return super().wsgi_app(environ, start_response)
        try:
            answer = receiver.answer(
                source,
                "POST",
                environ.get("CONTENT_TYPE"),
                environ.get("HTTP_CONTENT_SHA256"),
                environ.get("HTTP_TRACEPARENT"),
                lambda body_max_bytes: _body(environ, body_max_bytes),
            )
        except Exception as error:  # noqa: BLE001 - Flask would ask a handler
            return self._failed(error)(environ, start_response)
        start_response(
            _status(answer.status),
            [
                ("Content-Type", answer.content_type),
                ("Content-Length", str(len(answer.body))),
                *answer.headers,
            ],
        )
        return (answer.body,)

    def _is_watched(self) -> bool:
        """Tell whether anybody but us is to see a request, or has a say in its answer."""
        return bool(
            self.before_request_funcs
            or self.after_request_funcs
            or self.teardown_request_funcs
            or self.teardown_appcontext_funcs
            or self.url_value_preprocessors
            or self.config["TRUSTED_HOSTS"]
            or any(signal.receivers for signal in _SIGNALS)
        )


@cache
def _status(status: int) -> str:
    """Return the status line, as Flask writes it."""
    return f"{status} {HTTP_STATUS_CODES[status].upper()}"


def _body(environ: WSGIEnvironment, body_max_bytes: int) -> bytes | None:
    """Read the body as Flask does, up to the limit; None for a larger one. Raises CutShort."""
    try:
        # One byte more: a chunked body is cut at the limit without a word, and a cut body must not pass for a whole.
        return get_input_stream(environ, max_content_length=body_max_bytes + 1).read()
    except RequestEntityTooLarge:
        return None
    except ClientDisconnected:
        raise CutShort from None
