"""Requests as senders, proxies and probes have been seen to send them, byte for byte, and what each is answered."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote_plus

from tests.unit.ingress.wire import BOUNDARY, MULTIPART, callback, multipart

ACK: Final = "Hello API Event Received"


@dataclass(frozen=True)
class Case:
    """Bytes to send, and the answers: status, and the ack or the reason (empty: whatever the server says)."""

    name: str
    sent: bytes
    answers: tuple[tuple[int, str], ...] = ((200, ACK),)


def request(
    body: bytes = b"",
    *headers: str,
    line: str = "POST /callbacks HTTP/1.1",
    content_type: str | None = MULTIPART,
    length: int | None = None,
) -> bytes:
    """Return a request; ``length``: what it announces, where that is not the truth."""
    lines = [line, "Host: hooks.example.org", "User-Agent: Dropbox Sign API", "Accept: */*"]
    if content_type is not None:
        lines.append(f"Content-Type: {content_type}")
    lines += headers
    if not any(each.startswith("Transfer-Encoding") for each in headers):
        lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def part(text: bytes, disposition: str, *headers: str) -> bytes:
    """Return one part of a form, with the delimiter before it."""
    head = "\r\n".join((f"--{BOUNDARY}", f"Content-Disposition: {disposition}", *headers))
    return head.encode() + b"\r\n\r\n" + text + b"\r\n"


END: Final = f"--{BOUNDARY}--\r\n".encode()
TEXT: Final = callback(signature_request={"signature_request_id": "r1"})
FORM: Final = multipart(TEXT)
JSON: Final = 'form-data; name="json"'


def chunked(body: bytes, size: int) -> bytes:
    """Return a body in chunks, with its end."""
    pieces = (body[start : start + size] for start in range(0, len(body), size))
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def posted(path: str) -> bytes:
    """Return a genuine callback to some path or target."""
    return request(FORM, line=f"POST {path} HTTP/1.1")


def refused(status: int, reason: str) -> tuple[tuple[int, str], ...]:
    """Return one answer that refuses."""
    return ((status, reason),)


CASES: Final = (
    Case("a sender that expects 100 and does not wait", request(FORM, "Expect: 100-continue")),
    Case(
        "the part is a file",
        request(
            part(TEXT, JSON + '; filename="callback.json"', "Content-Type: application/json; charset=UTF-8")
            + END
        ),
    ),
    Case(
        "an urlencoded form",
        request(
            b"json=" + quote_plus(TEXT).encode(),
            content_type="application/x-www-form-urlencoded; charset=utf-8",
        ),
    ),
    Case("a body of JSON", request(TEXT, content_type="application/json")),
    Case("a query", posted("/callbacks?api_key=4f3c&stream=legal")),
    Case("a slash at the end", posted("/callbacks/")),
    Case("HTTP/1.0", request(FORM, "Connection: close", line="POST /callbacks HTTP/1.0")),
    Case("chunks", request(chunked(FORM, 97), "Transfer-Encoding: chunked")),
    Case("gzip", request(gzip.compress(FORM), "Content-Encoding: gzip"), refused(400, "bad_multipart")),
    Case(
        "GET with a challenge",
        request(line="GET /callbacks?challenge=9f8e7d HTTP/1.1", content_type=None),
        refused(405, "method_not_allowed"),
    ),
    Case("HEAD", request(line="HEAD /callbacks HTTP/1.1", content_type=None), refused(405, "")),
    Case("OPTIONS", request(line="OPTIONS /callbacks HTTP/1.1"), refused(405, "method_not_allowed")),
    Case("OPTIONS of the server", request(line="OPTIONS * HTTP/1.1"), refused(404, "not_found")),
    Case(
        "names without quotes, headers in other case",
        request(
            part(TEXT, "form-data; name=json", 'Content-Type: text/plain; charset="UTF-8"') + END,
            content_type=f'Multipart/Form-Data; Boundary="{BOUNDARY}"',
        ),
    ),
    Case(
        "preamble and epilogue",
        request(b"This is a multi-part message.\r\n" + FORM + b"That was the end.\r\n"),
    ),
    Case(
        "the fields of the published schema",
        request(part(b"{}", 'form-data; name="event"') + END),
        refused(400, "missing_json_field"),
    ),
    Case(
        "names as PHP nests them",
        request(b"event%5Bevent_type%5D=x", content_type="application/x-www-form-urlencoded"),
        refused(400, "missing_json_field"),
    ),
    Case(
        "a large file beside it",
        request(
            part(b"%PDF-1.4\n" * 120_000, 'form-data; name="file"; filename="a.pdf"') + part(TEXT, JSON) + END
        ),
    ),
    Case(
        "raw UTF-8 under another charset",
        request(
            multipart(callback(title="Żółć").replace(b"\\u017b", "Ż".encode())),
            content_type=f"{MULTIPART}; charset=iso-8859-1",
        ),
    ),
    Case("a byte order mark", request(multipart(b"\xef\xbb\xbf" + TEXT)), refused(400, "bad_json")),
    Case(
        "bytes that are no UTF-8", request(multipart(TEXT[:-1] + b',"a":"\xe9"}')), refused(400, "bad_json")
    ),
    Case("a body cut short", request(FORM[:-200], length=len(FORM)), refused(400, "bad_multipart")),
    Case(
        "chunks cut short", request(b"10\r\nabc", "Transfer-Encoding: chunked"), refused(400, "bad_multipart")
    ),
    Case("a fax", request(multipart(b'{"Transaction":{"TransactionId":"a1"}}')), refused(400, "bad_field")),
    Case("a wrapper", request(multipart(b'{"json":' + TEXT + b"}")), refused(400, "bad_field")),
    Case("JSON in JSON", request(multipart(json.dumps(TEXT.decode()).encode())), refused(400, "bad_json")),
    Case("Content-Sha256 in hexadecimal", request(FORM, "Content-Sha256: " + "7e" * 32)),
    Case("line feeds only", request(FORM.replace(b"\r\n", b"\n")), refused(400, "bad_multipart")),
    Case("two slashes before", posted("//callbacks")),
    Case("two slashes behind", posted("/callbacks//"), refused(404, "not_found")),
    Case("two slashes within", posted("/callbacks//default"), refused(404, "not_found")),
    Case("two on one connection", request(FORM) + request(FORM), ((200, ACK), (200, ACK))),
    Case("a target with the host", posted("http://hooks.example.org/callbacks")),
    Case("a target with the host and a source", posted("http://hooks.example.org/callbacks/default?x=1")),
    Case("a target with the host alone", posted("http://hooks.example.org"), refused(404, "not_found")),
    Case("an escaped slash", posted("/callbacks%2Fdefault")),
    Case("a path that is no UTF-8", posted("/callbacks/%ff"), refused(404, "unknown_source")),
    Case("another path", posted("/elsewhere"), refused(404, "not_found")),
    Case("an unknown source", posted("/callbacks/nobody"), refused(404, "unknown_source")),
    Case("no chunk", request(b"zz\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding: chunked"), refused(400, "")),
    Case("a large body, announced", request(length=10**9), refused(413, "body_too_large")),
    Case("a wrong signature", request(multipart(callback(key="other"))), refused(401, "bad_event_hash")),
    Case("no content type", request(FORM, content_type=None), refused(400, "missing_json_field")),
    Case("no boundary", request(FORM, content_type="multipart/form-data"), refused(400, "bad_multipart")),
    Case("nothing at all", request(), refused(400, "bad_multipart")),
    Case("no HTTP", b"GARBAGE\r\n\r\n", refused(400, "")),
)
