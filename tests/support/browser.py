# SPDX-License-Identifier: Apache-2.0
"""A real headless Chromium, where the machine has one."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
REQUIRED = os.environ.get("IMAGE_GROUNDING_BROWSER_TESTS") == "required"
LEFT_OUT = (
    f"browser tests were left out: none of {', '.join(_NAMES)} on PATH"
    " (IMAGE_GROUNDING_BROWSER_TESTS=required makes this a failure)"
)


def find_browser() -> str | None:
    """Where a Chromium is."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


@contextmanager
def running_browser() -> "Iterator[Browser]":
    """A browser for some tests; no event loop of its own outlives the block."""
    from playwright.sync_api import sync_playwright

    executable = find_browser()
    assert executable, f"IMAGE_GROUNDING_BROWSER_TESTS=required, but none of {_NAMES} on PATH"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=[*_ARGUMENTS])
        yield browser
        browser.close()


@contextmanager
def opened(browser: "Browser", path: Path, script: str = "", **options: Any) -> "Iterator[Page]":
    """A file opened from disk; what it may never do fails the test.

    No message on the console, no exception, no request but for the file itself and what it
    carries.
    """
    options = {"viewport": {"width": 1400, "height": 1000}, **options}
    context = browser.new_context(**options)
    said: list[str] = []
    asked: list[str] = []
    page = context.new_page()
    page.set_default_timeout(10_000)
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(f"dialog: {dialog.message}"))
    page.on("request", lambda request: asked.append(request.url))
    if script:
        page.add_init_script(script)
    page.goto(path.as_uri())
    yield page
    assert said == []
    assert {url for url in asked if not url.startswith(("data:", "blob:"))} == {path.as_uri()}
    context.close()
