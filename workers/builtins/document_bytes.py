"""Whether some bytes are a whole document: a connection or a server that broke off must not make a document of record. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_MAGIC: Final[Mapping[str, bytes]] = {"pdf": b"%PDF-", "zip": b"PK\x03\x04"}

_PADDING: Final = b"\x00\t\n\x0c\r "
_PDF_TAIL_BYTES: Final = 1024
"""A PDF ends here, padding aside: readers look for its end no further."""

_PDF_END: Final = re.compile(rb"startxref\s+[0-9]{1,12}\s+%%EOF")
_PDF_GOES_ON: Final = re.compile(rb"[0-9]\s+[0-9]+\s+obj|xref|trailer")
"""What comes after an end only if another revision begins: a signed PDF has several ends, and one that is cut behind an
earlier one is not whole."""

_ZIP_END: Final = b"PK\x05\x06"
_ZIP_TAIL_BYTES: Final = 66_000
"""A zip may carry a comment of 64 KiB behind its end."""


def defect(kind: str, body: bytes, media_type: str) -> str:
    """Say why an answer is no whole document of a kind; an empty text if it is one."""
    if not body:
        return "the API sent an empty body"
    if not body.startswith(_MAGIC[kind]):
        return f"the API sent {media_type or 'something'} of {len(body)} bytes that is no {kind}"
    return "" if _is_whole(kind, body) else f"the {kind} is cut off"


def _is_whole(kind: str, body: bytes) -> bool:
    if kind == "zip":
        return _ZIP_END in body[-_ZIP_TAIL_BYTES:]
    end = len(body)
    while end and body[end - 1] in _PADDING:
        end -= 1
    tail = body[max(0, end - _PDF_TAIL_BYTES) : end]
    ends = list(_PDF_END.finditer(tail))
    return bool(ends) and _PDF_GOES_ON.search(tail, ends[-1].end()) is None
