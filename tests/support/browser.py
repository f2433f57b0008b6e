# SPDX-License-Identifier: Apache-2.0
"""A real headless Chromium, where the machine has one."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    # In the place of Playwright's own list; RenderDocument takes a quarter of each page's CPU.
    "--disable-features=RenderDocument,AvoidUnnecessaryBeforeUnloadCheckSync,MediaRouter,"
    "DestroyProfileOnBrowserClose,HttpsUpgrades,OptimizationHints,PaintHolding,Translate",
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
        browser.new_page()  # that ``opened`` uses
        yield browser
        browser.close()


@contextmanager
def opened(
    browser: "Browser",
    path: Path,
    *,
    width: int = 1400,
    height: int = 1000,
    color_scheme: Literal["dark", "light"] | None = None,
) -> "Iterator[Page]":
    """A file opened from disk; what it may never do fails the test.

    No message on the console, no exception, no request but for the file itself and what it
    carries. A new window takes two seconds of CPU, so all files share one; what they keep in the
    browser is forgotten at the end.
    """
    page = browser.contexts[0].pages[0]
    said: list[str] = []
    asked: list[str] = []
    listeners: dict[Any, Callable[[Any], None]] = {
        "console": lambda message: said.append(f"{message.type}: {message.text}"),
        "pageerror": lambda error: said.append(str(error)),
        "dialog": lambda dialog: said.append(f"dialog: {dialog.message}"),
        "request": lambda request: asked.append(request.url),
    }
    page.set_default_timeout(10_000)
    if page.viewport_size != (size := {"width": width, "height": height}):  # costs a frame
        page.set_viewport_size(size)
    if color_scheme:
        page.emulate_media(color_scheme=color_scheme)
    page.mouse.move(0, 0)
    for event, listener in listeners.items():
        page.on(event, listener)
    page.goto(path.as_uri())
    try:
        yield page
        assert said == []
        assert {url for url in asked if not url.startswith(("data:", "blob:"))} == {path.as_uri()}
    finally:
        for event, listener in listeners.items():
            page.remove_listener(event, listener)
        page.evaluate("try { localStorage.clear() } catch {}")
        if color_scheme:
            page.emulate_media(color_scheme="null")
