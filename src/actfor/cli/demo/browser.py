"""What a person does in the browser, done by a headless Chromium with a virtual authenticator.

Used by `actfor demo --auto` and by the browser journeys. The authenticator is Chromium's own
(WebAuthn automation, CDP domain `WebAuthn`): real ceremonies, real signatures, no person.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_MAC = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
# No background traffic: the demo talks to this machine only.
QUIET = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


def find_chromium() -> str | None:
    """Path of an installed Chromium or Chrome, or None."""
    for name in _NAMES:
        if found := shutil.which(name):
            return found
    if sys.platform == "darwin":
        return next((path for path in _MAC if Path(path).exists()), None)
    return None


@contextmanager
def browser_page(*, width: int = 420, height: int = 860, javascript: bool = True) -> Iterator[Page]:
    """A page in a fresh headless Chromium whose virtual authenticator verifies its user.

    Raises:
        RuntimeError: there is no Chromium, or Playwright is not installed.
    """
    executable = find_chromium()
    if executable is None:
        raise RuntimeError("no Chromium found: install `chromium` with your package manager")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise RuntimeError("playwright is not installed: pip install playwright") from None
    arguments = [*QUIET, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=arguments)
        try:
            context = browser.new_context(
                viewport={"width": width, "height": height}, java_script_enabled=javascript
            )
            page = context.new_page()
            add_authenticator(page)
            yield page
        finally:
            browser.close()


def add_authenticator(page: Page) -> None:
    """Plug a virtual platform authenticator into ``page``: resident keys, user verified."""
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    session.send(
        "WebAuthn.addVirtualAuthenticator",
        {
            "options": {
                "protocol": "ctap2",
                "transport": "internal",
                "hasResidentKey": True,
                "hasUserVerification": True,
                "isUserVerified": True,
                "automaticPresenceSimulation": True,
            }
        },
    )
