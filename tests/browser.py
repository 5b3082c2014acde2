"""A real browser for tests, as patient as they are."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from playwright.sync_api import sync_playwright

from tests.programs import require
from tests.waiting import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@contextlib.contextmanager
def open_browser() -> Iterator[Browser]:
    """Start Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=require("chromium"), args=ARGUMENTS)
        yield browser
        browser.close()


@contextlib.contextmanager
def open_page(browser: Browser, **options: Any) -> Iterator[Page]:
    """Open a page of its own context, which has these options of Playwright's.

    With ``bypass_csp=True`` scripts of a test run in it, which the live page's own policy forbids.
    """
    with browser.new_context(**options) as context:
        context.set_default_timeout(DEADLINE_S * 1000)
        yield context.new_page()
