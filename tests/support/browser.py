"""A real browser, where there is one: Chromium without a window, driven by playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@contextmanager
def started() -> Iterator[Any]:
    """A browser; skips where there is none, or nothing to drive it."""
    driver = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium")
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened(browser: Any, page: Path, **settings: Any) -> Iterator[Any]:
    """A page without a network; whatever the browser complains of fails the test."""
    complaints: list[str] = []
    tab = browser.new_page(offline=True, **settings)
    tab.on("console", lambda one: complaints.append(one.text))
    tab.on("pageerror", lambda one: complaints.append(str(one)))
    tab.on("request", lambda one: one.url == page.as_uri() or complaints.append(one.url))
    tab.goto(page.as_uri())
    yield tab
    tab.close()
    assert not complaints, complaints
