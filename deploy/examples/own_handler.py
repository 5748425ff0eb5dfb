"""A handler of your own that only lets Deedbox verify, to copy: nothing is stored, ordered or tried again.

DROPBOX_SIGN_API_KEY=... python deploy/examples/own_handler.py 8000
"""

from __future__ import annotations

import os
import sys
from wsgiref.simple_server import make_server
from wsgiref.types import StartResponse, WSGIEnvironment

from deedbox import NotVerified, verify

BODY_MAX_BYTES = 10 * 1024 * 1024


def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    """Answer one request."""
    # The raw bytes, before any framework has parsed the form: they are what was signed.
    length = min(int(environ.get("CONTENT_LENGTH") or 0), BODY_MAX_BYTES)
    body = environ["wsgi.input"].read(length)
    headers = {
        "Content-Type": environ.get("CONTENT_TYPE", ""),
        "Content-Sha256": environ.get("HTTP_CONTENT_SHA256", ""),
    }
    try:
        found = verify(body, headers, os.environ["DROPBOX_SIGN_API_KEY"].split(","))
    except NotVerified as error:
        start_response("401 Unauthorized", [("Content-Type", "text/plain")])
        return [f"{error.reason}: {error}\n".encode()]
    # `claimed` and `disputed` say that nothing vouches for the body but the sender's hash of time and type.
    sys.stdout.write(f"{found.event_type} at {found.event_time}, {found.trust}\n")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"Hello API Event Received"]


if __name__ == "__main__":
    make_server("127.0.0.1", int(sys.argv[1]), app).serve_forever()
