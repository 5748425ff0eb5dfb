"""The documentation site: every page is in it, every link leads somewhere, and it shows what the pages show on GitHub."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
import yaml
from markdown_it import MarkdownIt

from tests.deploy.processes import DEPLOY, ROOT

CONFIG: Final = DEPLOY / "site" / "mkdocs.yml"
PAGES: Final = [*sorted((ROOT / "docs").glob("*.md")), *sorted(DEPLOY.glob("*.md")), ROOT / "CHANGELOG.md"]
COUNTED: Final = ("h1", "h2", "h3", "li", "ol", "pre", "table", "tr", "img")


def _build(config: Path, site: Path) -> str:
    """Return what MkDocs found wrong."""
    command = (
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "-f",
        str(config),
        "-d",
        str(site),
    )
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    assert _build(CONFIG, folder) == ""
    return folder


def _html(site: Path, page: Path) -> str:
    name = {"README": ".", "CHANGELOG": "changelog"}.get(page.stem, page.stem)
    return (site / name / "index.html").read_text("utf-8")


def _article(site: Path, page: Path) -> str:
    return str(re.findall(r"<article.*?</article>", _html(site, page), re.DOTALL)[0])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_has_on_the_site_what_it_has_on_github(site: Path, page: Path) -> None:
    """Lists, above all: the site's Markdown wants them indented by more."""
    wanted = MarkdownIt("commonmark").enable("table").render(page.read_text("utf-8"))
    shown = _article(site, page)
    for tag in COUNTED:
        assert len(re.findall(rf"<{tag}[ >]", shown)) == len(re.findall(rf"<{tag}[ >]", wanted)), tag


def test_a_link_to_a_file_that_is_no_page_leads_into_the_repository(site: Path) -> None:
    links = {link for page in PAGES for link in re.findall(r'<a href="([^"]+)"', _article(site, page))}
    blob = f"{yaml.safe_load(CONFIG.read_text('utf-8'))['repo_url']}/blob/main/"
    files = {link.removeprefix(blob).partition("#")[0] for link in links if link.startswith(blob)}
    assert "deploy/nginx/site.conf" in files
    assert [file for file in files if not (ROOT / file).exists()] == []


def test_the_first_page_leads_to_every_other_page(site: Path) -> None:
    first = _article(site, ROOT / "docs" / "README.md")
    linked = set(re.findall(r'<a href="([\w-]+)/"', first))
    assert linked == {page.stem.lower() for page in PAGES} - {"readme"}


def test_a_broken_link_fails_the_build(tmp_path: Path) -> None:
    """Of a page, of a heading and of a file."""
    docs, config = tmp_path / "docs", yaml.safe_load(CONFIG.read_text("utf-8"))
    docs.mkdir()
    (docs / "README.md").write_text("# One\n\n[a](gone.md) [b](#gone) [c](../deploy/gone.conf)\n", "utf-8")
    config |= {"docs_dir": "docs", "nav": [{"Home": "README.md"}], "hooks": [str(CONFIG.parent / "hooks.py")]}
    config["validation"]["nav"]["omitted_files"] = "ignore"  # the pages of deploy/ join it too
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(config), "utf-8")
    found = _build(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert set(re.findall(r"gone[.a-z]*", found)) == {"gone.md", "gone", "gone.conf"}


def test_the_site_asks_no_other_server_for_anything(site: Path) -> None:
    for page in PAGES:
        loaded = re.findall(
            r'<(?:script|link rel="stylesheet"|img)[^>]* (?:src|href)="([^"]+)"', _html(site, page)
        )
        assert len(loaded) > 2
        assert [each for each in loaded if "://" in each or each.startswith("//")] == []
