"""What the API may send as a document, and what is stored of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Response

from tests.component.workers.fetch_desk import (
    DOWNLOADABLE,
    PDF,
    ZIP,
    Open,
    desk,
    open_desk,
    serve,
)

__all__ = ["desk", "open_desk"]

pytestmark = pytest.mark.real_redis


@pytest.mark.parametrize(
    ("kind", "body", "headers", "outcome"),
    [
        ("pdf", b"<html>maintenance</html>", {}, "rejected"),
        ("pdf", ZIP, {}, "rejected"),
        ("zip", PDF, {}, "rejected"),
        ("pdf", PDF[: len(PDF) // 2], {}, "waits"),
        ("zip", ZIP[: len(ZIP) // 2], {}, "waits"),
        ("pdf", PDF, {"Content-Length": str(len(PDF) + 10), "Connection": "close"}, "waits"),
    ],
    ids=["a page", "a zip for a pdf", "a pdf for a zip", "half a pdf", "half a zip", "a broken connection"],
)
def test_what_is_no_whole_document_is_never_stored(
    open_desk: Open, kind: str, body: bytes, headers: dict[str, str], outcome: str
) -> None:
    server = serve(lambda: Response(iter([body]), headers=headers, mimetype="application/pdf"))
    try:
        desk = open_desk(DEEDBOX_DOCUMENT_TYPE=kind, DEEDBOX_API_URL=server.url + "/v3")
        desk.happen(DOWNLOADABLE)
    finally:
        server.stop()
    assert desk.files() == {}
    assert (desk.waits(), desk.deployment.reasons()) == (
        (True, []) if outcome == "waits" else (False, ["rejected"])
    )


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "endless"])
def test_a_document_over_the_cap_is_a_dead_letter_that_names_the_setting_and_is_not_read_on(
    open_desk: Open, *, announced: bool
) -> None:
    sent_bytes = [0]

    def pieces() -> Iterator[bytes]:
        for _ in range(64 if announced else 10_000):
            sent_bytes[0] += 1024 * 1024
            yield PDF.ljust(1024 * 1024)

    headers = {"Content-Length": str(64 * 1024 * 1024)} if announced else {}
    server = serve(lambda: Response(pieces(), headers=headers, mimetype="application/pdf"))
    try:
        desk = open_desk(DEEDBOX_DOCUMENT_MAX_BYTES="2097152", DEEDBOX_API_URL=server.url + "/v3")
        desk.happen(DOWNLOADABLE)
    finally:
        server.stop()
    [letter] = desk.deployment.letters()
    assert (letter["reason"], desk.files()) == (b"rejected", {})
    assert b"DEEDBOX_DOCUMENT_MAX_BYTES" in letter["detail"]
    assert sent_bytes[0] < 32 * 1024 * 1024  # what sockets buffer, and no more
