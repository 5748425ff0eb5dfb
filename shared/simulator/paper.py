"""The documents of a simulated signature request: small valid files whose bytes follow from the request alone."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from typing import Final

_ZIP_EPOCH: Final = (2020, 1, 1, 0, 0, 0)
"""A fixed time: zip entries carry one, and the simulator must know the SHA-256 beforehand."""


def render_pdf(lines: Sequence[str]) -> bytes:
    """Return a one-page PDF that shows the lines; text beyond Latin-1 is replaced by ``?``."""
    content = b"BT /F1 12 Tf 72 770 Td 16 TL " + b" ".join(_show(line) for line in lines) + b" ET"
    objects = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources 6 0 R >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        b"<< /Font << /F1 5 0 R >> >>",
    )
    out = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    offsets = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table_at = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, table_at)
    return bytes(out)


def render_zip(entries: Sequence[tuple[str, bytes]]) -> bytes:
    """Return a zip archive of (file name, content), equal for equal arguments."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in entries:
            archive.writestr(zipfile.ZipInfo(name, _ZIP_EPOCH), content)
    return buffer.getvalue()


def _show(line: str) -> bytes:
    text = line.encode("latin-1", "replace")
    return b"(" + text.replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)") + b") '"
