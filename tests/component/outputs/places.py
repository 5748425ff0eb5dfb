"""Every output of Deedbox: what a person or a program can read, and what it must be."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from flask import Flask
from werkzeug.routing import Rule

from tests.component.outputs.hostile import ADDRESS, HASHES, Values
from tests.support.forms import Page

UNMASKED: Final = ("dead.payload", "api.events")
"""Endpoints that show what a callback says, to callers who may see it."""

TITLES: Final = ("api.request", "api.requests")
"""Endpoints of programs that hand out titles as they are."""

ASKED: Final = {
    "requests.search": ["", "?q=r1", "?q={text}"],
    "dead.listing": ["", "?from=1", "?action={text}&reason={text}&type={text}"],
    "dead.plan": ["?do=redrive&all=1", "?do=discard&all=1", "?do=discard&id=1&id={text}"],
    "audit.listing": ["", "?from=1", "?from={text}"],
    "pages.overview_page": ["", "?hours=24", "?hours={text}"],
    "api.events": ["", "?payload=1", "?after={text}"],
    "plans.plan": [
        "",
        "?request=r1",
        "?request={text}&actions={text}",
        "?kind=action&name={text}",
        "?since={text}",
    ],
}
"""Queries of each endpoint; one without any, by default."""


def refused_character(char: str) -> bool:
    """Tell whether a character could steer a terminal, or turn a line of a page around."""
    return char not in "\n\t" and unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"}


def assert_no_hash(text: str, where: str) -> None:
    """Check that no ``event_hash`` leaves: whoever has one can send callbacks."""
    assert not [each for each in HASHES if each in text], where


def assert_text(text: str, where: str, *, masked: bool = True) -> None:
    """Check what a person reads."""
    assert_no_hash(text, where)
    found = sorted({hex(ord(char)) for char in text if refused_character(char)})
    assert not found, (where, found)
    assert not (masked and ADDRESS in text), where


def assert_json(data: bytes, where: str) -> Any:
    """Check what a program reads: JSON as its standard says, without NaN."""

    def refused(name: str) -> None:
        raise AssertionError(f"{where}: {name} is not JSON")

    assert_no_hash(data.decode("utf-8"), where)
    return json.loads(data.decode("utf-8"), parse_constant=refused)


def paths(app: Flask, known: dict[str, list[str]], values: Values) -> Iterator[tuple[str, str]]:
    """Yield endpoint and path of everything that can be read, for every known id. A new parameter must be known here."""
    text = quote(values.text.encode("utf-8", "replace"))[:2000]
    for rule in app.url_map.iter_rules():
        if "GET" in (rule.methods or ()) and rule.endpoint != "static":
            for path in _filled(app, rule, known):
                for query in ASKED.get(rule.endpoint, [""]):
                    yield rule.endpoint, path + query.format(text=text)


def _filled(app: Flask, rule: Rule, known: dict[str, list[str]]) -> list[str]:
    found: list[dict[str, str]] = [{}]
    for name in sorted(rule.arguments):
        found = [{**each, name: value} for each in found for value in known[name]]
    adapter = app.url_map.bind("localhost")
    return [adapter.build(rule.endpoint, each) for each in found]


def assert_served(app: Flask, endpoint: str, path: str, token: str) -> None:
    """Ask for a path and check the answer."""
    headers = {"Authorization": f"Bearer {token}"}
    with app.test_client().get(path, headers=headers, buffered=True) as answer:
        assert answer.status_code in {200, 302, 303, 400, 401, 404}, (
            path[:200],
            answer.status_code,
            answer.data[:300],
        )
        kind = answer.mimetype
        assert_no_hash(answer.data.decode("utf-8", "replace"), path[:200])
        if kind == "text/html":
            page = Page(answer.data.decode("utf-8"))
            assert_text(" ".join(page.words), path[:200], masked=endpoint not in UNMASKED)
        elif kind == "application/json":
            assert_json(answer.data, path[:200])
            assert endpoint in (*UNMASKED, *TITLES) or ADDRESS.encode() not in answer.data, path
        elif kind != "application/pdf":
            assert_text(answer.data.decode("utf-8"), path[:200])


def sidecars(folder: Path) -> Iterator[Any]:
    """Yield what is written beside stored documents, checked."""
    for path in folder.rglob("*.json"):
        yield assert_json(path.read_bytes(), str(path))
