"""The receiver in a Django project: ``path("callbacks", deedbox.django.view())`` in ``urls.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from deedbox.ingress.publish.background import Link
    from deedbox.shared.settings import Settings


def view(settings: Settings | None = None, broker: Link | None = None) -> Callable[..., HttpResponse]:
    """Return a view that receives callbacks; ``callbacks/<str:source>`` gives it the source.

    A callback is verified, made durable and acknowledged, as in Deedbox's own web process. Settings come from the
    environment unless they are given; Django's limits on uploads do not apply. Opens no connection. Raises SettingsError.
    """
    from django.http import HttpResponse
    from django.views.decorators.csrf import csrf_exempt

    from deedbox.ingress.mount import Mounted

    mounted = Mounted.of(settings, broker)

    def callbacks(request: HttpRequest, source: str = "default") -> HttpResponse:
        answer = mounted.answer(source, request.method or "", request.headers.get, _reader(request))
        response = HttpResponse(answer.body, status=answer.status, content_type=answer.content_type)
        for name, value in answer.headers:
            response[name] = value
        return response

    exempt: Callable[..., HttpResponse] = csrf_exempt(callbacks)  # Dropbox Sign has no token to send
    return exempt


def _reader(request: Any) -> Callable[[int], bytes | None]:
    """Return what reads a request's body: past ``request.body``, whose limit is the project's own."""
    from deedbox.ingress.receive.receiver import CutShort, ReadBefore

    def read(body_max_bytes: int) -> bytes | None:
        if request._read_started and not hasattr(request, "_body"):  # noqa: SLF001 - where Django notes that it was parsed
            raise ReadBefore
        announced = request.META.get("CONTENT_LENGTH") or "0"
        if announced.isdigit() and int(announced) > body_max_bytes:
            return None
        try:
            body: bytes = request.read(body_max_bytes + 1)
        except OSError:  # UnreadablePostError: the sender went away
            raise CutShort from None
        if len(body) < int(announced if announced.isdigit() else 0):
            raise CutShort
        return body if len(body) <= body_max_bytes else None

    return read
