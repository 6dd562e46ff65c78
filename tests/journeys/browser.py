"""A real headless Chromium with a virtual passkey, and ears for what must not happen."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from actfor.cli.demo.browser import QUIET, add_authenticator, find_chromium

PHONE = {"width": 360, "height": 780}
WIDE = {"width": 1200, "height": 800}
_LISTEN = """
document.addEventListener('securitypolicyviolation', (event) => {
  console.error('VIOLATION ' + event.violatedDirective + ' ' + event.blockedURI);
});
"""


@dataclass
class Visit:
    """One browser window. ``dialogs``, ``violations`` and ``strays`` must stay empty."""

    page: Page
    context: BrowserContext
    home: str
    dialogs: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def go(self, path: str) -> None:
        self.page.goto(path if path.startswith("http") else self.home + path)

    def text(self) -> str:
        return self.page.inner_text("main")

    def overflow(self) -> int:
        """Pixels by which the page is wider than the window."""
        wide: int = self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        return wide

    def check_quiet(self) -> None:
        assert self.dialogs == []
        assert self.violations == []
        assert self.strays == []
        assert self.errors == []

    def _hear(self, page: Page) -> None:
        def dialog(opened: Any) -> None:
            self.dialogs.append(opened.message)
            opened.dismiss()

        def console(message: Any) -> None:
            if "VIOLATION" in message.text or "Content Security Policy" in message.text:
                self.violations.append(message.text)

        def request(sent: Any) -> None:
            parts = urlsplit(sent.url)
            if f"{parts.scheme}://{parts.netloc}" != self.home:
                self.strays.append(sent.url)

        page.on("dialog", dialog)
        page.on("console", console)
        page.on("request", request)
        page.on("pageerror", lambda error: self.errors.append(str(error)))


@contextmanager
def chromium() -> Iterator[Browser]:
    """The machine's Chromium; the test is reported as not run where there is none."""
    executable = find_chromium()
    if executable is None:
        pytest.skip("no Chromium on this machine: browser journeys were not run")
    arguments = [*QUIET, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def visit(
    browser: Browser,
    home: str,
    *,
    javascript: bool = True,
    size: dict[str, int] | None = None,
    state: Any = None,
    dark: bool = False,
) -> Iterator[Visit]:
    """A fresh window, signed in with ``state`` if given."""
    context = browser.new_context(
        viewport=size or PHONE,  # type: ignore[arg-type] # a ViewportSize
        java_script_enabled=javascript,
        storage_state=state,
        color_scheme="dark" if dark else "light",
    )
    context.set_default_timeout(10_000)
    page = context.new_page()
    seen = Visit(page, context, home)
    seen._hear(page)
    if javascript:
        page.add_init_script(_LISTEN)
        add_authenticator(page)
    try:
        yield seen
    finally:
        context.close()
