"""DEEDBOX_DESTINATIONS: what is refused at the start, and which addresses are inside."""

from __future__ import annotations

import json
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from deedbox.shared.core.errors import SettingsError
from deedbox.shared.destinations import parse_destinations
from deedbox.shared.runtime.ports import is_inside
from deedbox.shared.settings import Settings

SECRET = "whsec_" + "c2VjcmV0" * 4
ROW = {"url": "https://hooks.example.com/t0ken", "secret": SECRET}


def test_a_destination_needs_a_url_and_a_secret(tmp_path: Path) -> None:
    file = tmp_path / "destinations.json"
    file.write_text(json.dumps({"crm": ROW}))
    for text in (json.dumps({"crm": ROW}), str(file)):
        (crm,) = Settings.load({"DEEDBOX_DESTINATIONS": text}).destinations().values()
        assert (crm.name, crm.url) == ("crm", ROW["url"])
        assert "t0ken" not in repr(crm)
        assert SECRET not in repr(crm)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"url": None}, "url is missing"), ({"secret": None}, "secret is missing"), ({"url": "hooks.example.com"}, "url is no address"), ({"url": "ftp://h/"}, "url is no"),
        ({"url": "https://u:p@h/"}, "url has a user"), ({"url": "https://h/\u00fc"}, "url is no"),
        ({"url": "https://[::1/"}, "url is no"), ({"url": "https://h:99999/"}, "url is no"),
        ({"url": "http://hooks.example.com/"}, "DEEDBOX_PLAIN_HTTP"), ({"url": "http://127.0.0.1/"}, "allow_private"),
        ({"url": "https://10.1.2.3/"}, "allow_private"), ({"url": "https://[::ffff:10.0.0.1]/"}, "allow_private"),
        ({"url": "https://localhost/"}, "allow_private"), ({"secret": "whsec_short"}, "secret is not whsec_"),
        ({"secret": "c2VjcmV0" * 4}, "secret is not whsec_"), ({"secret": "whsec_" + "!" * 40}, "secret is not"),
        ({"types": []}, "types is no list"), ({"types": ["a b"]}, "types is no list"), ({"types": "*"}, "types "),
        ({"where": {"signer": "x"}}, "where names 'signer'"), ({"where": {"metadata.": "x"}}, "where names"),
        ({"where": {"test_mode": "on"}}, "where gives test_mode"), ({"where": {"client_id": []}}, "where gives"),
        ({"where": ["metadata.env"]}, "where is no object"), ({"lane": "documents"}, "lane is not usable"),
        ({"lane": "a b"}, "lane is not usable"), ({"payload": "off"}, "payload "), ({"sekret": "x"}, "sekret is no field"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_field_and_no_secret(change: dict[str, Any], named: str) -> None:
    row = {name: value for name, value in (ROW | change).items() if value is not None}
    with pytest.raises(SettingsError, match="DEEDBOX_DESTINATIONS, destination crm") as refused:
        parse_destinations(json.dumps({"crm": row}))
    assert named in str(refused.value)
    assert "t0ken" not in str(refused.value)
    assert str(row.get("secret", SECRET)) not in str(refused.value)


@pytest.mark.parametrize("text", ["{", "[]", '{"crm": 1}', '{"a b": {}}', "/does/not/exist", '{"crm": []}'])
def test_another_form_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(SettingsError, match="DEEDBOX_DESTINATIONS"):
        parse_destinations(text)


@pytest.mark.parametrize(
    ("address", "inside"),
    [
        ("127.0.0.1", True), ("10.0.0.1", True), ("172.16.0.1", True), ("192.168.1.1", True), ("169.254.169.254", True),
        ("100.64.0.1", True), ("0.0.0.1", True), ("224.0.0.1", True), ("255.255.255.255", True), ("::1", True),
        ("fe80::1", True), ("fd00::1", True), ("ff02::1", True), ("::ffff:127.0.0.1", True), ("64:ff9b::7f00:1", True),
        ("2002:7f00:1::", True), ("64:ff9b::808:808", False), ("8.8.8.8", False), ("2001:4860:4860::8888", False),
    ],
)  # fmt: skip
def test_an_address_that_only_this_side_reaches_is_inside(address: str, *, inside: bool) -> None:
    assert is_inside(ip_address(address)) is inside
