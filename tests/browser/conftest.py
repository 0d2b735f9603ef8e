"""A real Chromium for the tests of this folder.

It is the one that ``CONCURRA_CHROMIUM`` names, or that is on the PATH, or else the one
that ``python -m playwright install chromium`` has put on the machine. Without any, each
test fails, and says so: nothing is skipped in silence.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from concurra.reports import RunRecord, write_html

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(autouse=True)
def leak_guard() -> None:
    """Instead of the guard of that name: a browser's processes come and go."""


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One browser for all tests."""
    found = (shutil.which(name) for name in _NAMES)
    path = os.environ.get("CONCURRA_CHROMIUM") or next(filter(None, found), None)
    root = hasattr(os, "geteuid") and os.geteuid() == 0  # for whom it has no sandbox
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox"] if root else []
        )
        yield browser
        browser.close()


@pytest.fixture
def troubles() -> list[str]:
    """What pages have met: errors, what their policy forbids, a use of the network."""
    return []


@pytest.fixture
def show(
    browser: Browser, tmp_path: Path, troubles: list[str]
) -> Iterator[Callable[..., Page]]:
    """Opens the page of a record, as a file. It must meet no trouble."""
    contexts = []

    def show(record: RunRecord, fragment: str = "", **options: Any) -> Page:
        path = tmp_path / "run.html"
        write_html(record, path)
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("console", lambda message: troubles.append(message.text))
        page.on("request", lambda request: requested(request.url))
        page.goto(path.as_uri() + fragment)
        return page

    def requested(url: str) -> None:
        if not url.startswith("file:"):
            troubles.append(url)

    yield show
    for context in contexts:
        context.close()
    assert not troubles
