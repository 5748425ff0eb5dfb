from __future__ import annotations

import json
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
    assert load(tmp_path, DEEDBOX_OPS_TOKENS=str(path)).named("a") is not None


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


def test_changing_any_token_ends_all_sessions(tmp_path: Path) -> None:
    before = load(tmp_path, DEEDBOX_OPS_TOKEN=SECRET).session_key()
    assert before == load(tmp_path, DEEDBOX_OPS_TOKEN=SECRET).session_key()
    assert before != load(tmp_path, DEEDBOX_OPS_TOKEN=SECRET + "1").session_key()
