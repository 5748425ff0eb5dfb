"""A small application of its own behind the guard, and what a browser does with it."""

from __future__ import annotations

import json
import re
from pathlib import Path

from flask import Flask
from flask.testing import FlaskClient

from deedbox.ops.web.auth import guard
from deedbox.ops.web.auth.tokens import Scope
from deedbox.shared.settings import Settings

ADMIN = "admin-0123456789abcdef"
READER = "reader-0123456789abcd"


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def settings_of(tmp_path: Path, **environ: str) -> Settings:
    tokens = {
        "admin": {"token": ADMIN, "scopes": ["read", "write"]}, "reader": {"token": READER, "scopes": ["read"]},
    }  # fmt: skip
    usual = {"DEEDBOX_DATA_DIR": str(tmp_path), "DEEDBOX_REDIS_URL": "redis://127.0.0.1:1/0"}
    return Settings.load({**usual, "DEEDBOX_OPS_TOKENS": json.dumps(tokens), **environ})


def with_routes(app: Flask) -> Flask:
    @app.get("/api/thing")
    def read() -> str:
        return guard.caller().name

    @app.post("/api/thing")
    def write() -> str:
        return guard.caller().name

    @app.get("/api/paper")
    @guard.needs(Scope.DOCUMENTS)
    def paper() -> str:
        return "paper"

    @app.get("/api/bug")
    def bug() -> str:
        raise ZeroDivisionError("a secret in a message")

    return app


def sign_in(browser: FlaskClient, token: str = ADMIN, to: str = "/api/thing") -> int:
    return browser.post("/login", data={"token": token, "next": to}).status_code


def cookie(browser: FlaskClient) -> str:
    found = browser.get_cookie("deedbox_ops")
    assert found is not None
    return found.value


def form_token(page: str) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert found is not None
    return found[1]
