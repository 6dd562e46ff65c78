"""The person in the story: a real one at a terminal, else a headless browser doing the same."""

from __future__ import annotations

import re
import subprocess
import time
import webbrowser
from typing import TYPE_CHECKING, Protocol

from rich.console import Console

from actfor.cli.demo.stage import ACTFOR, Broken, Stage
from actfor.cli.demo.world import STRANGERS_ADDRESS

if TYPE_CHECKING:
    from playwright.sync_api import Page


class Person(Protocol):
    """What the story needs of a human."""

    def set_up(self, link: str) -> None:
        """Open the one-time link and register the first operator's passkey."""

    def sign_in_cli(self, stage: Stage) -> None:
        """Run `actfor login` and confirm its code in the browser."""

    def approve(self, link: str) -> None:
        """Open the approval link, read it, approve with the passkey."""

    def refuse(self, link: str) -> None:
        """Open the approval link, see whose words these are, deny."""


class RealPerson:
    """Opens links in the person's own browser and waits for them."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def set_up(self, link: str) -> None:
        """Ask for a passkey; `sign_in_cli` finds out whether there is one."""
        self._ask("Register your passkey (any name will do):", link)

    def sign_in_cli(self, stage: Stage) -> None:
        """Wait until the person confirmed the code."""
        login = _start_login(stage)
        self._ask("Sign in the command line: confirm the code there:", _link(login))
        _finish(login, seconds=600)

    def approve(self, link: str) -> None:
        """Show the link; the agent's call goes on as soon as the person approved."""
        self._ask("Look at what the agent wants, and approve it with your passkey:", link)

    def refuse(self, link: str) -> None:
        """Show the link; the agent's call ends as soon as the person denied."""
        self._ask("Look at what the agent wants, and at where it has it from. Deny it:", link)

    def _ask(self, what: str, link: str) -> None:
        self._console.print(
            f"\n  [bold yellow]your turn[/bold yellow]  {what}\n             {link}\n"
        )
        webbrowser.open(link)


class RobotPerson:
    """Does in a headless Chromium, with a virtual authenticator, what a person would."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def set_up(self, link: str) -> None:
        """Fill in the name, press the button, let the authenticator make the passkey."""
        self._page.goto(link)
        self._page.get_by_label("Your name").fill("Olivia Operator")
        self._page.get_by_role("button", name="Create passkey").click()
        self._page.wait_for_url(lambda url: "/setup" not in url)

    def sign_in_cli(self, stage: Stage) -> None:
        """Confirm the device code."""
        login = _start_login(stage)
        self._page.goto(_link(login))
        self._page.get_by_role("button", name="Confirm").click()
        _finish(login, seconds=30)

    def approve(self, link: str) -> None:
        """Check that the page shows the statement, then approve."""
        self._page.goto(link)
        if "DELETE FROM customers WHERE id = 3" not in self._page.inner_text("main"):
            raise Broken("the approval page does not show the statement")
        self._page.get_by_role("button", name=re.compile("^Approve")).click()
        self._page.get_by_text("approved", exact=False).first.wait_for()

    def refuse(self, link: str) -> None:
        """Check that the page says where the address comes from, then deny."""
        self._page.goto(link)
        shown = self._page.inner_text("main")
        if STRANGERS_ADDRESS not in shown or "handbook" not in shown:
            raise Broken("the approval page does not show where the address comes from")
        self._page.get_by_role("button", name="Deny", exact=True).click()
        self._page.get_by_text("denied", exact=False).first.wait_for()


def _start_login(stage: Stage) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*ACTFOR, "login", "--server", stage.url, "--no-browser"],
        stderr=subprocess.PIPE,
        text=True,
        env=stage.environment,
    )


def _link(login: subprocess.Popen[str]) -> str:
    assert login.stderr is not None  # noqa: S101 - opened above
    for line in login.stderr:
        if found := re.search(r"https?://\S+/device\S*", line):
            return found.group()
    raise Broken("`actfor login` gave no link")


def _finish(login: subprocess.Popen[str], *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while login.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    if login.returncode is None:
        login.kill()
    _, said = login.communicate()
    if login.returncode != 0:
        raise Broken(f"`actfor login` failed: {said}")
