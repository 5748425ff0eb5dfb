from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import pytest

from deedbox.ops.web.auth import tokens
from deedbox.ops.web.auth.tokens import ALL_SCOPES, Scope
from deedbox.shared.core.errors import SettingsError
from deedbox.shared.settings import Settings

SECRET = "0123456789abcdef0123"


def load(tmp_path: Path, **environ: str) -> tokens.Tokens:
    return tokens.load(Settings.load({"DEEDBOX_DATA_DIR": str(tmp_path), **environ}))


def test_the_single_token_is_named_admin_and_may_do_everything(tmp_path: Path) -> None:
    found = load(tmp_path, DEEDBOX_OPS_TOKEN=SECRET).find(SECRET)
    assert found is not None
    assert (found.name, found.scopes) == ("admin", ALL_SCOPES)


def test_named_tokens_have_their_scopes(tmp_path: Path) -> None:
    text = json.dumps({"grafana": {"token": SECRET, "scopes": ["read"]}})
    found = load(tmp_path, DEEDBOX_OPS_TOKENS=text).find(SECRET)
    assert found is not None
    assert (found.name, found.scopes) == ("grafana", frozenset({Scope.READ}))


def test_named_tokens_may_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    path.write_text(json.dumps({"a": {"token": SECRET, "scopes": ["read", "write"]}}))
    assert load(tmp_path, DEEDBOX_OPS_TOKENS=str(path)).find(SECRET) is not None


def test_a_token_may_be_listed_by_its_hash_which_opens_nothing(tmp_path: Path) -> None:
    digest = hashlib.sha256(SECRET.encode()).hexdigest()
    text = json.dumps({"grafana": {"sha256": digest.upper(), "scopes": ["read"]}})
    found = load(tmp_path, DEEDBOX_OPS_TOKENS=text)
    assert found.find(SECRET) is not None
    assert found.find(digest) is None


def test_no_token_is_in_memory_as_it_is(tmp_path: Path) -> None:
    found = load(tmp_path, DEEDBOX_OPS_TOKEN=SECRET)
    assert SECRET not in str([asdict(row) for row in found.rows])
    assert found.rows[0].digest not in repr(found)


def test_without_a_configured_token_one_is_made_once_for_the_owner_only(tmp_path: Path) -> None:
    first, second = load(tmp_path), load(tmp_path)
    path = tmp_path / "ops" / "token"
    assert first == second
    assert path.stat().st_mode & 0o777 == 0o600
    assert first.find(path.read_text().strip()) is not None
    assert [each.name for each in path.parent.iterdir()] == ["token"]


@pytest.mark.parametrize(
    "environ",
    [
        {"DEEDBOX_OPS_TOKEN": "short"},
        {"DEEDBOX_OPS_TOKENS": "{"},
        {"DEEDBOX_OPS_TOKENS": '{"a": {"token": "0123456789abcdef0123"}}'},
        {"DEEDBOX_OPS_TOKENS": '{"a": {"token": "0123456789abcdef0123", "scopes": ["root"]}}'},
        {"DEEDBOX_OPS_TOKENS": '{"a": {"token": "0123456789abcdef0123", "scopes": []}}'},
        {"DEEDBOX_OPS_TOKENS": '{"a": {"sha256": "0123456789abcdef0123", "scopes": ["read"]}}'},
        {"DEEDBOX_OPS_TOKENS": '{"a": {"scopes": ["read"]}}'},
        {"DEEDBOX_OPS_TOKENS": "/nowhere/tokens.json"},
    ],
)
def test_unusable_tokens_are_one_sentence_that_names_the_setting_and_no_secret(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    with pytest.raises(SettingsError) as raised:
        load(tmp_path, **environ)
    assert "DEEDBOX_OPS_TOKEN" in str(raised.value)
    assert SECRET not in str(raised.value)
