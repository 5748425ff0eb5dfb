"""A person at a browser: real Chromium before a real ops process over a real Redis."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, sync_playwright

from tests.component.conftest import quiet, redis_server, state
from tests.component.ops_web.conftest import TOKEN, Ops, running_ops
from tests.component.workers.server import RedisServer, missing

__all__ = ["quiet", "redis_server", "state"]

CHROMIUM = Path("/usr/bin/chromium")
READER = "browser-reader-token-01"

Visit = Callable[..., Page]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Lend one browser to a file of tests; skips or fails without one.

    Not to the session: as long as Playwright is open, an event loop runs in this thread, and asyncio.run() fails in it.
    """
    if not CHROMIUM.exists():
        missing("No Chromium was found; install Debian's package chromium.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def browser_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the data directory of that process."""
    return tmp_path_factory.mktemp("ops")


@pytest.fixture(scope="session")
def ops(redis_server: RedisServer, browser_data: Path) -> Iterator[Ops]:
    """Lend one ops process to all tests."""
    tokens = json.dumps({"reader": {"token": READER, "scopes": ["read"]}})
    with running_ops(redis_server.url, browser_data, DEEDBOX_OPS_TOKENS=tokens) as running:
        yield running


class Watch:
    """Everything that a page must never do."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self.wrong: list[str] = []
        self.expected: tuple[str, ...] = ()
        """Parts of console errors that the test brings about itself."""

    def attach(self, context: BrowserContext) -> None:
        context.on("console", self._console)
        context.on("weberror", lambda error: self.wrong.append(f"error: {error.error}"))
        context.on("dialog", self._dialog)
        context.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        # A violation of the Content-Security-Policy is an error on the console too.
        if message.type in {"error", "warning"} and not any(part in message.text for part in self.expected):
            self.wrong.append(f"console: {message.text}")

    def _dialog(self, dialog: Any) -> None:
        self.wrong.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _request(self, request: Request) -> None:
        if not request.url.startswith((self._origin + "/", "data:")):
            self.wrong.append(f"request: {request.url}")


@pytest.fixture
def watch(ops: Ops) -> Watch:
    """Watch this test's pages."""
    return Watch(ops.url)


@pytest.fixture
def visit(chromium: Browser, ops: Ops, state: Any, watch: Watch) -> Iterator[Visit]:
    """Return a function that opens a path in a fresh browser profile, signed in as a reader.

    Afterwards nothing may have gone wrong.
    """
    del state  # emptied
    with ExitStack() as stack:

        def opened(path: str, **options: Any) -> Page:
            context = stack.enter_context(chromium.new_context(base_url=ops.url, **options))
            context.set_default_timeout(15_000)
            watch.attach(context)
            page = context.new_page()
            page.goto(f"/login?next={quote(path)}")
            sign_in(page, READER)
            return page

        yield opened
    assert watch.wrong == []


def sign_in(page: Page, token: str = TOKEN) -> None:
    """Fill the form in that the page shows."""
    page.get_by_label("Token").fill(token)
    page.get_by_role("main").get_by_role("button", name="Sign in").click()
