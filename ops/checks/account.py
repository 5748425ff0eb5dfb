"""Checks against the Dropbox Sign API: the key, and where callbacks go."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

from deedbox.ops.checks.finding import Finding, failed, ok, warning
from deedbox.shared.callback_url import is_expected, shown
from deedbox.shared.core.errors import SettingsError
from deedbox.shared.settings import Settings
from deedbox.shared.sources import Source

TIMEOUT_S: Final = (5.0, 15.0)
"""Connect and read."""

ANSWER_MAX_BYTES: Final = 1 << 20

_OK: Final = 200


def check(settings: Settings) -> Iterator[Finding]:
    """Ask every source's account. A source whose key ring is missing was reported before."""
    try:
        sources = settings.sources()
    except SettingsError:
        return
    for source in sources.values():
        yield _check(settings.api_url, source)
        for client_id in source.client_ids:
            yield _check_app(settings.api_url, source, client_id)


def _check(api_url: str, source: Source) -> Finding:
    name = f"account {source.name}"
    try:
        status, document = _ask(api_url, source.api_keys[0])
    except Exception as error:  # noqa: BLE001 - the SDK, its HTTP client and sockets each raise their own
        # The type only: an HTTP client's message quotes what it sent.
        fix = "check DEEDBOX_API_URL and the way out of this network, or leave this out with --offline"
        return failed(name, f"the API does not answer ({type(error).__name__})", fix)
    if status in {401, 403}:
        fix = "put a valid API key first in the key ring (DEEDBOX_API_KEYS or DEEDBOX_SOURCES)"
        return failed(name, f"the API refuses the key ({status})", fix)
    account = document.get("account")
    if status != _OK or not isinstance(account, dict):
        return warning(
            name, f"the API answered {status}: key and callback URL are not known", "try again later"
        )
    url = account.get("callback_url")
    if source.callback_url is not None and source.watch_account:
        return expected_url(name, source, url, "the key works; ")
    if not source.watch_account:
        return ok(name, f"the key works; only apps should call back, the account's URL is {shown(url)}")
    return callback_url(source.name, url)


def _check_app(api_url: str, source: Source, client_id: str) -> Finding:
    name = f"app {client_id}"
    try:
        status, document = _ask(api_url, source.api_keys[0], client_id)
    except Exception as error:  # noqa: BLE001 - as above
        return failed(
            name, f"the API does not answer ({type(error).__name__})", "leave it out with --offline"
        )
    app = document.get("api_app")
    if status != _OK or not isinstance(app, dict):
        fix = f"correct client_ids of the source {source.name} in DEEDBOX_SOURCES"
        return failed(name, f"the API does not show this app to the account ({status})", fix)
    if source.callback_url is None:
        return ok(name, f"its callbacks go to {shown(app.get('callback_url'))}")
    return expected_url(name, source, app.get("callback_url"), "")


def expected_url(name: str, source: Source, url: object, prefix: str) -> Finding:
    """Judge a callback URL of which the settings say what it should be."""
    if is_expected(str(source.callback_url), url):
        return ok(name, f"{prefix}callbacks go to {shown(url)}, as they should")
    detail = f"{prefix}the callback URL is {shown(url)}, and should be {shown(source.callback_url)}"
    option = "" if source.name == "default" else f" --source {source.name}"
    return failed(name, detail, f"put it back: `deedbox callback-url set{option}`")


def callback_url(source: str, url: object) -> Finding:
    """Judge the account's callback URL where the settings do not say what it should be."""
    name = f"account {source}"
    path = "/callbacks" if source == "default" else f"/callbacks/{source}"
    if not isinstance(url, str) or not url:
        detail = "the key works; the account has no callback URL (never set, or dropped after 10 failures in a row)"
        fix = f"set it to https://<your host>{path} in the API settings, unless only API apps call back"
        return warning(name, detail, fix)
    parts = urlsplit(url)
    paths = {"/callbacks", "/callbacks/default"} if source == "default" else {path}
    if parts.scheme != "https":
        fix = "use https: Dropbox Sign has called no http URL since December 2024"
        return failed(name, f"the key works; callbacks go to {shown(url)}", fix)
    if parts.path.rstrip("/") not in paths:
        fix = f"it should end in {path}, unless a proxy in front rewrites it"
        return warning(name, f"the key works; callbacks go to {shown(url)}", fix)
    return ok(name, f"the key works; callbacks go to {shown(url)}")


def _ask(api_url: str, api_key: str, client_id: str = "") -> tuple[int, dict[str, Any]]:
    # Here, not at the top: importing the SDK takes about a second, which only this check pays.
    from dropbox_sign import ApiClient, Configuration
    from dropbox_sign.apis import AccountApi, ApiAppApi
    from urllib3 import Retry

    configuration = Configuration(host=api_url, username=api_key, retries=Retry(0, redirect=3))
    with ApiClient(configuration) as client:
        # Without the SDK's models: they refuse answers with fields or values that they do not know.
        if client_id:
            answer = ApiAppApi(client).api_app_get_without_preload_content(
                client_id, _request_timeout=TIMEOUT_S
            )
        else:
            answer = AccountApi(client).account_get_without_preload_content(_request_timeout=TIMEOUT_S)
        try:
            body = answer.read(ANSWER_MAX_BYTES, decode_content=True)
        finally:
            answer.release_conn()
    try:
        document = json.loads(body)
    except ValueError:
        document = {}
    return int(answer.status), document if isinstance(document, dict) else {}
