"""``python -m tests.screenshots``: take every picture anew; ``--into FOLDER`` puts them elsewhere, ``--all`` takes more."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, Page, sync_playwright
from rich.console import Console

from deedbox.shared.redis import keys
from tests.browser.conftest import CHROMIUM
from tests.screenshots.scene import ROOT, Scene, running

IMAGES: Final = ROOT / "docs" / "images"
WIDTHS: Final = {"wide": (1280, 900), "phone": (390, 844)}
KEPT: Final = {
    ("overview", "wide", "light"), ("overview", "wide", "dark"), ("overview", "phone", "light"),
    ("request", "wide", "light"), ("request", "phone", "dark"), ("dead", "wide", "light"), ("dead", "phone", "light"),
    ("plan", "wide", "light"), ("events", "wide", "dark"), ("requests", "wide", "light"),
}  # fmt: skip
"""What the documentation shows; the others are looked at and thrown away."""


def _pages(scene: Scene) -> Iterator[tuple[str, str]]:
    """Yield a name and a path for each page."""
    redis: Any = scene.redis
    letter = redis.zrange(keys.DEAD, 0, 0)[0].decode()
    stream = redis.hget(keys.dead(letter), "key").decode()
    yield from (
        ("overview", "/"), ("requests", "/requests"), ("request", f"/requests/default/{stream}"),
        ("dead", "/dead"), ("letter", f"/dead/{letter}"), ("group", "/dead?reason=attempts_exhausted"),
        ("plan", "/dead/plan?do=redrive&all=1&reason=attempts_exhausted"), ("events", "/events"), ("pauses", "/pauses"), ("audit", "/audit"),
        ("pause", "/plan/pause?kind=destination&name=warehouse&back=/pauses"),
        ("erase", f"/plan/erase?request={stream}&back=/"), ("runbook", "/runbook#attempts_exhausted"), ("login", "/login"),
    )  # fmt: skip


def _take(browser: Browser, scene: Scene, into: Path, *, every: bool) -> None:
    console = Console()
    for theme in ("light", "dark"):
        for size, (width, height) in WIDTHS.items():
            context = browser.new_context(
                base_url=scene.ops, color_scheme=theme, viewport={"width": width, "height": height}, timezone_id="Europe/Berlin"
            )  # fmt: skip
            page = context.new_page()
            page.goto(scene.link())
            for name, path in _pages(scene):
                if every or (name, size, theme) in KEPT:
                    target = into / f"{name}-{size}-{theme}.png"
                    _picture(page, name, path, target, whole=every)
                    console.print(f"{target.name} {target.stat().st_size // 1024} KiB")
            context.close()


READY: Final = {"overview": ".plot canvas", "events": "#follow[data-state='live']"}
"""What a page's script has made when it is complete."""

LONG: Final = frozenset({"runbook"})
"""Too long for one picture."""


def _picture(page: Page, name: str, path: str, target: Path, *, whole: bool) -> None:
    page.goto(path)
    if name in READY:
        page.locator(READY[name]).first.wait_for()
    page.screenshot(path=target, full_page=whole and name not in LONG, animations="disabled")


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--into", type=Path, default=IMAGES)
    parser.add_argument("--all", action="store_true", help="every page in every size, to its end")
    given = parser.parse_args()
    given.into.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder)) as scene,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        _take(browser, scene, given.into, every=given.all)
        browser.close()


if __name__ == "__main__":
    main()
