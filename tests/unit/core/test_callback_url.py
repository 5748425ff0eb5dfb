"""What a callback URL should be, and how it is shown."""

from __future__ import annotations

import pytest

from deedbox.shared.callback_url import is_callback_url, is_expected, shown

URL = "https://hooks.example.com/callbacks"


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (URL, True),
        (URL + "/", True),
        ("https://HOOKS.example.com:443/callbacks", True),
        ("http://hooks.example.com/callbacks", False),
        ("https://hooks.example.com/callbacks/sales", False),
        ("https://hooks.example.com:8443/callbacks", False),
        ("https://user:x@hooks.example.com/callbacks", False),
        ("https://[", False),
        ("", False),
        (None, False),
        (7, False),
    ],
)
def test_a_url_is_the_expected_one_whatever_the_spelling_of_its_host(
    found: object, *, expected: bool
) -> None:
    assert is_expected(URL, found) is expected


def test_user_password_and_query_are_never_shown() -> None:
    assert (
        shown("https://u:secret@h.example:8443/callbacks?token=secret") == "https://h.example:8443/callbacks"
    )
    assert shown(None) == "not set"
    assert shown("https://[") == "no URL"
    assert "\x1b" not in shown("https://h.example/\x1b[31m")


@pytest.mark.parametrize(
    "url",
    ["http://h.example/callbacks", "h.example", "https:///callbacks", "https://h.example/a b", "https://["],
)
def test_what_dropbox_sign_could_not_call_is_no_callback_url(url: str) -> None:
    assert not is_callback_url(url)
    assert is_callback_url(URL)
