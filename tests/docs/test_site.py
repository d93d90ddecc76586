"""The documentation as a site: pages with their figures, and nothing that lies beside them.

It is read without a network: no page asks another host for anything.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import browser as browsers
import pytest
from blocks import ROOT

# What lies in a docs folder that was worked in.
LITTER = (
    "__pycache__/x.pyc",
    "adr/__pycache__/x.pyc",
    "tool.py",
    "tutorial.md~",
    "tutorial.md.orig",
    "tutorial.md.rej",
    ".draft.md",
    ".ipynb_checkpoints/tutorial.md",
    "adr/.cache/notes.md",
    ".DS_Store",
)
# What mkdocs and its theme make beside one folder a page.
MADE = {
    Path(name) for name in ("404.html", "sitemap.xml", "sitemap.xml.gz", "search/search_index.json")
}


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A docs folder with litter in it, and the site made of it in ``site`` beside it."""
    place = tmp_path_factory.mktemp("site")
    shutil.copy(ROOT / "mkdocs.yml", place)
    copied = shutil.copytree(ROOT / "docs", place / "docs", ignore=shutil.ignore_patterns(".*"))
    for name in LITTER:
        (copied / name).parent.mkdir(exist_ok=True)
        (copied / name).write_text("# Litter\n", "utf-8")
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"], cwd=place, check=True
    )
    return copied


@pytest.fixture(scope="module")
def site(docs: Path) -> Path:
    return docs.parent / "site"


def test_the_site_is_the_pages_alone(docs: Path, site: Path) -> None:
    pages = [
        path.relative_to(ROOT / "docs")
        for path in (ROOT / "docs").rglob("*.md")
        if not any(part.startswith(".") for part in path.relative_to(ROOT / "docs").parts)
    ]
    files = {path.relative_to(site) for path in site.rglob("*") if path.is_file()}
    theme = {path for path in files if path.parts[0] == "assets"}
    folders = {page.parent if page.stem == "index" else page.with_suffix("") for page in pages}
    assert theme, "the theme's own files are no litter"
    figures = {path.relative_to(docs) for path in (docs / "figures").glob("*.svg")}
    assert files - theme == MADE | figures | {folder / "index.html" for folder in folders}


ASKED = re.compile(
    r"""<(?:script|img|iframe|source|video|audio)\b[^>]*?\bsrc="?((?:https?:)?//[^"\s>]+)"""
    r"""|<link\b(?=[^>]*rel="?(?:stylesheet|preconnect|dns-prefetch|preload|icon))"""
    r"""[^>]*?href="?((?:https?:)?//[^"\s>]+)"""
)
FETCHED_BY_THE_THEME = ('class="mermaid"', 'data-md-component="source"', 'data-md-source="')
"""What makes the theme's script load a drawing library, or ask a forge for its stars."""


def test_no_page_asks_another_host(site: Path) -> None:
    for path in site.rglob("*.html"):
        text = path.read_text("utf-8")
        assert ASKED.search(text) is None, path
        assert not any(mark in text for mark in FETCHED_BY_THE_THEME), path


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with browsers.started() as started:
        yield started


def test_the_site_is_searched_and_read_in_the_dark(browser: Any, address: str) -> None:
    asked: list[str] = []
    tab = browser.new_page(color_scheme="light")
    tab.on("request", lambda one: asked.append(one.url))
    tab.on("pageerror", lambda one: asked.append(f"error: {one}"))
    tab.goto(address + "concepts/")
    for _ in ("light", "dark"):
        tab.locator("form[data-md-component=palette] label:visible").click()
    assert tab.locator("body").get_attribute("data-md-color-scheme") == "slate"
    tab.keyboard.press("/")
    tab.locator("input.md-search__input").press_sequentially("removal")
    tab.locator("a.md-search-result__link[href*=revert-is-removal]").wait_for(state="attached")
    tab.close()
    assert all(one.startswith(address) for one in asked), asked
