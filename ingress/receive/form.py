"""The form around a callback: finds the exact bytes of its field ``json``.

Bytes, not text: the body's signature covers them as sent, and any decoding on the way could change them.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote_to_bytes

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

MULTIPART: Final = "multipart/form-data"
URLENCODED: Final = "application/x-www-form-urlencoded"
FORM_TYPES: Final = frozenset({MULTIPART, URLENCODED})

FIELD: Final = "json"

PARTS_MAX: Final = 16
"""Callbacks have one part; the bound keeps a body of a million empty ones cheap."""

PART_HEADERS_MAX: Final = 8
PART_HEADER_MAX_BYTES: Final = 2048
BOUNDARY_MAX_CHARS: Final = 200
"""The standard allows 70."""


class BadForm(Exception):
    """The body is not the form that its content type announces; the text says how, without quoting it."""


def media_type(content_type: str | None) -> str:
    """Return the media type of a ``Content-Type`` header in lower case, without its options."""
    return (content_type or "").partition(";")[0].strip().lower()


def json_texts(content_type: str, body: bytes) -> list[bytes]:
    """Return the bytes of every field ``json`` of a form (one, in a genuine callback). Raises BadForm."""
    if media_type(content_type) == URLENCODED:
        return _urlencoded(body)
    boundary = parse_options_header(content_type)[1].get("boundary", "")
    if not boundary or len(boundary) > BOUNDARY_MAX_CHARS:
        raise BadForm("the content type names no usable boundary")
    try:
        return _multipart(boundary.encode("utf-8", "replace"), body)
    except MultipartError as error:  # its text may quote a header of the part
        # The parser keeps its error, and the frames of a traceback the whole request: collections are rare.
        error.__traceback__ = None
        raise BadForm("the body is not well-formed multipart/form-data") from None


def _multipart(boundary: bytes, body: bytes) -> list[bytes]:
    found: list[list[bytes]] = []
    wanted = False
    with PushMultipartParser(
        boundary,
        max_segment_count=PARTS_MAX,
        max_header_count=PART_HEADERS_MAX,
        max_header_size=PART_HEADER_MAX_BYTES,
    ) as parser:
        for item in parser.parse(body):
            if isinstance(item, MultipartSegment):
                wanted = item.name == FIELD
                if wanted:
                    found.append([])
            elif item is not None and wanted:
                found[-1].append(item)
    return [b"".join(chunks) for chunks in found]


def _urlencoded(body: bytes) -> list[bytes]:
    if body.count(b"&") >= PARTS_MAX:
        raise BadForm("the form has too many fields")
    found = []
    for pair in body.split(b"&"):
        name, _, value = pair.partition(b"=")
        if unquote_to_bytes(name) == FIELD.encode():
            # The standard library's form parser decodes to text and would replace what is not UTF-8.
            found.append(unquote_to_bytes(value.replace(b"+", b" ")))
    return found
