"""What the API may send as a document, and what is stored of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Response

from deedbox.workers.builtins.fetch_documents import ATTEMPTS
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
    ("kind", "body", "headers"),
    [
        ("pdf", b"<html>maintenance</html>", {}),
        ("pdf", b"", {}),
        ("pdf", b'{"file_url": "https://example.com/x.pdf"}', {}),
        ("pdf", ZIP, {}),
        ("zip", PDF, {}),
        ("pdf", PDF[: len(PDF) // 2], {}),
        ("pdf", PDF + PDF[PDF.index(b"obj") - 4 : 400], {}),
        ("zip", ZIP[: len(ZIP) // 2], {}),
        ("pdf", PDF, {"Content-Length": str(len(PDF) + 10), "Connection": "close"}),
    ],
    ids=[
        "a page",
        "nothing",
        "json",
        "a zip for a pdf",
        "a pdf for a zip",
        "half a pdf",
        "half a second revision",
        "half a zip",
        "a broken connection",
    ],
)
def test_what_is_no_whole_document_is_never_stored_and_asked_for_again(
    open_desk: Open, kind: str, body: bytes, headers: dict[str, str]
) -> None:
    answers = [
        Response(iter([body]), headers=headers, mimetype="application/pdf"),
        Response(ZIP if kind == "zip" else PDF),
    ]
    server = serve(lambda: answers.pop(0))
    try:
        desk = open_desk(DEEDBOX_DOCUMENT_TYPE=kind, DEEDBOX_API_URL=server.url + "/v3")
        desk.happen(DOWNLOADABLE, is_complete=True)
        assert (desk.files(), desk.waits()) == ({}, True)
        desk.go_on()
    finally:
        server.stop()
    assert (len(desk.sidecars()), desk.deployment.letters()) == (1, [])


def test_a_page_that_stays_in_a_documents_place_is_a_dead_letter_in_the_end(open_desk: Open) -> None:
    server = serve(lambda: Response("<html>maintenance</html>", mimetype="text/html"))
    try:
        desk = open_desk(DEEDBOX_API_URL=server.url + "/v3")
        desk.happen(DOWNLOADABLE, is_complete=True)
        for _ in range(ATTEMPTS):
            desk.go_on()
    finally:
        server.stop()
    [letter] = desk.deployment.letters()
    assert letter["reason"] == b"attempts_exhausted"
    assert b"the API sent text/html of 24 bytes that is no pdf" in letter["detail"]


@pytest.mark.parametrize("junk", [b" " * 2048, b"\0" * 70_000, b"\r\n% by a proxy\n"])
def test_what_follows_the_end_of_a_document_does_no_harm(open_desk: Open, junk: bytes) -> None:
    server = serve(lambda: Response(PDF + junk, mimetype="application/octet-stream"))
    try:
        desk = open_desk(DEEDBOX_API_URL=server.url + "/v3")
        desk.happen(DOWNLOADABLE, is_complete=True)
    finally:
        server.stop()
    assert len(desk.sidecars()) == 1


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
