"""No cache keeps what Deedbox answers: every route of both applications, whatever a view has set itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask, Response, send_file
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from deedbox.ingress.app import create_app as create_ingress
from deedbox.ops.web.app import create_app as create_ops
from deedbox.shared.settings import Settings

TOKEN = "admin-0123456789abcdef"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.load({
        "DEEDBOX_DATA_DIR": str(tmp_path), "DEEDBOX_REDIS_URL": "redis://127.0.0.1:1/0", "DEEDBOX_API_KEYS": "k" * 64,
        "DEEDBOX_OPS_TOKEN": TOKEN,
    })  # fmt: skip


def answers(app: Flask) -> list[tuple[Rule, str, TestResponse]]:
    """Ask every method of every route, and an address that there is not."""
    client = app.test_client()
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    found = [
        (rule, method, client.open(_path(app, rule), method=method, headers=headers, buffered=True))
        for rule in app.url_map.iter_rules()
        for method in sorted((rule.methods or set()) - {"OPTIONS"})
        for headers in ({}, bearer)
    ]
    return [*found, (Rule("/nowhere", endpoint="nowhere"), "GET", client.get("/nowhere"))]


def _path(app: Flask, rule: Rule) -> str:
    return app.url_map.bind("localhost").build(rule.endpoint, dict.fromkeys(rule.arguments, "1"))


def test_every_route_of_ops_that_is_not_static_forbids_to_keep_its_answer(settings: Settings) -> None:
    app = create_ops(settings)
    found = answers(app)
    assert len(found) > 20
    kept = [(rule.rule, method, answer.headers.get("Cache-Control")) for rule, method, answer in found
            if answer.headers.get("Cache-Control") != "no-store"]  # fmt: skip
    assert kept == []


def test_static_files_of_ops_are_kept(settings: Settings) -> None:
    answer = create_ops(settings).test_client().get("/static/deedbox.css", buffered=True)
    assert answer.headers["Cache-Control"] == "public, max-age=3600"


def test_what_a_view_sets_itself_does_not_count(settings: Settings, tmp_path: Path) -> None:
    app = create_ops(settings)
    paper = tmp_path / "paper.pdf"
    paper.write_bytes(b"%PDF")

    @app.get("/api/paper")
    def with_etag() -> Response:
        return send_file(paper, max_age=3600)

    @app.get("/api/page")
    def without_etag() -> Response:
        return Response(
            "x", headers={"Cache-Control": "public, max-age=60", "Expires": "Thu, 01 Dec 2096 16:00:00 GMT"}
        )

    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {TOKEN}"
    first = client.get("/api/paper", buffered=True)
    known = client.get("/api/paper", headers={"If-None-Match": first.headers["ETag"]}, buffered=True)
    assert [first.status_code, known.status_code] == [200, 304]
    for answer, control in (
        (first, "private, no-cache"),
        (known, "private, no-cache"),
        (client.get("/api/page"), "no-store"),
    ):
        assert answer.headers["Cache-Control"] == control
        assert "Expires" not in answer.headers


def test_every_route_of_ingress_forbids_to_keep_its_answer(settings: Settings) -> None:
    found = answers(create_ingress(settings))
    assert {answer.headers.get("Cache-Control") for _, _, answer in found} == {"no-store"}
