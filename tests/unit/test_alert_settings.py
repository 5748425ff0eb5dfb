"""The settings of alerts and of the callback URL: what is usable, and that no error quotes a secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deedbox.shared.alerts.targets import demand, described, receivers
from deedbox.shared.core.errors import SettingsError
from deedbox.shared.settings import Settings

SECRET = "T1JJ3T3L2"
SLACK = f"slack://{SECRET}/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#ops"


def _settings(**env: str) -> Settings:
    return Settings.load({"DEEDBOX_API_KEYS": "k", **env})


def test_urls_are_separated_by_commas_or_line_breaks_and_each_counts_once() -> None:
    text = "json://one.example, json://two.example?a=1,2\nmailto://u:p@mail.example,\njson://one.example"
    found = receivers(_settings(DEEDBOX_ALERT_URLS=text))
    assert [each.url for each in found] == [
        "json://one.example",
        "json://two.example?a=1,2",
        "mailto://u:p@mail.example",
    ]


def test_a_receiver_keeps_its_identity_in_another_order() -> None:
    forth = receivers(_settings(DEEDBOX_ALERT_URLS="json://a.example,json://b.example"))
    back = receivers(_settings(DEEDBOX_ALERT_URLS="json://b.example,json://a.example"))
    assert {each.identity for each in forth} == {each.identity for each in back}


def test_a_bad_url_is_counted_and_not_quoted() -> None:
    settings = _settings(DEEDBOX_ALERT_URLS=f"jsons://a.example,slack://{SECRET}-secret")
    with pytest.raises(SettingsError, match="URL 2 of 2") as raised:
        demand(settings)
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    ["json://h.example/{0}", "mailto://u:{0}@mail.example", "gotify://10.0.0.1/{0}", "xml://[2001:db8::1]"],
)
def test_alerts_leave_the_machine_with_tls_or_on_purpose(url: str) -> None:
    url = url.format(SECRET)
    text = f"json://localhost:1,json://127.0.0.1,{SLACK},jsons://h.example,{url}"
    with pytest.raises(SettingsError, match="URL 5 of 5 sends without TLS") as raised:
        demand(_settings(DEEDBOX_ALERT_URLS=text))
    assert SECRET not in str(raised.value)
    assert len(demand(_settings(DEEDBOX_ALERT_URLS=text, DEEDBOX_PLAIN_HTTP="on"))) == 5


@pytest.mark.parametrize(
    "host", ["api.example", "10.0.0.1", "localhost.example", "[2001:db8::1]", "127.0.0.1.nip.io"]
)
def test_the_api_key_leaves_the_machine_with_tls_or_on_purpose(host: str) -> None:
    url = f"http://{host}:8080/v3"
    with pytest.raises(SettingsError, match="DEEDBOX_API_URL begins with http://"):
        _settings(DEEDBOX_API_URL=url)
    assert _settings(DEEDBOX_API_URL=url, DEEDBOX_PLAIN_HTTP="on").api_url == url
    for local in ("localhost", "127.0.0.1", "[::1]"):
        _settings(DEEDBOX_API_URL=f"http://{local}:8080/v3")


def test_nothing_that_is_shown_of_a_receiver_is_a_secret() -> None:
    text = f"{SLACK}\njson://user:{SECRET}@h.example:1/{SECRET}?k={SECRET}\nntfy://{SECRET}"
    found = receivers(_settings(DEEDBOX_ALERT_URLS=text))
    shown = [described(each) for each in found]
    assert shown[0] == "1: Slack, slack"
    assert shown[1] == "2: JSON, json://h.example"
    assert SECRET not in "".join(shown) + repr(found) + str(_settings(DEEDBOX_ALERT_URLS=text).summary())


def test_alerts_are_an_action_only_where_they_have_somewhere_to_go() -> None:
    assert "alert" not in _settings().enabled_builtins
    assert "alert" in _settings(DEEDBOX_ALERT_URLS="json://h.example").enabled_builtins
    with pytest.raises(SettingsError, match="DEEDBOX_ALERT_URLS is not set"):
        _settings(DEEDBOX_BUILTINS="alert")


def test_the_watchdog_is_an_action_only_where_a_url_is_expected() -> None:
    assert "watch_callback_url" not in _settings().enabled_builtins
    url = "https://hooks.example.com/callbacks"
    assert "watch_callback_url" in _settings(DEEDBOX_CALLBACK_URL=url).enabled_builtins
    sources = {"emea": {"api_keys": ["x"], "callback_url": f"{url}/emea", "client_ids": ["c1"]}}
    settings = _settings(DEEDBOX_SOURCES=json.dumps(sources))
    assert "watch_callback_url" in settings.enabled_builtins
    assert settings.watched_sources["emea"].client_ids == ("c1",)


def test_the_default_source_may_have_apps_and_its_keys_elsewhere() -> None:
    source = _settings(
        DEEDBOX_SOURCES='{"default": {"client_ids": ["c1"], "watch_account": false}}',
        DEEDBOX_CALLBACK_URL="https://hooks.example.com/callbacks",
    ).sources()["default"]
    assert (source.api_keys, source.client_ids, source.watch_account) == (("k",), ("c1",), False)


def test_the_default_source_without_any_key_is_said() -> None:
    with pytest.raises(SettingsError, match="no usable api_keys"):
        Settings.load({"DEEDBOX_SOURCES": '{"default": {"client_ids": ["c1"]}}'}).sources()


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        ({"callback_url": "http://h.example"}, "callback_url"),
        ({"callback_url": 7}, "callback_url"),
        ({"client_ids": "c1"}, "client_ids"),
        ({"client_ids": ["../account"]}, "client_ids"),
        ({"watch_account": "no"}, "watch_account"),
    ],
)
def test_a_source_with_an_unusable_part_is_one_sentence(entry: dict[str, object], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        _settings(DEEDBOX_SOURCES=json.dumps({"emea": {"api_keys": ["x"], **entry}})).sources()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DEEDBOX_ALERT_EVENTS", "file_error,*declined"),
        ("DEEDBOX_ALERT_DETAILS", "some"),
        ("DEEDBOX_ALERT_WINDOW_S", "0"),
        ("DEEDBOX_ALERT_PER_HOUR", "1"),
        ("DEEDBOX_CALLBACK_URL", "http://hooks.example.com/callbacks"),
    ],
)
def test_an_unusable_value_names_its_variable(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        _settings(**{name: value})


def test_no_events_at_all_can_be_chosen() -> None:
    assert _settings(DEEDBOX_ALERT_EVENTS="none").alert_types == ()


def test_a_sources_file_that_is_missing_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="DEEDBOX_SOURCES"):
        _settings(DEEDBOX_SOURCES=str(tmp_path / "absent")).sources()
