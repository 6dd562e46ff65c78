"""What operators and approvers do, in a real browser, against the real server."""

import os
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from tests.fakes.console_app import TRACE, Site, running_site
from tests.fakes.console_strings import MARKUP, NASTY
from tests.journeys.browser import WIDE, Visit, chromium, visit

from actfor.approval import State
from actfor.audit import Event, EventType
from actfor.errors import Refused
from actfor.identity import AgentState
from actfor.store import Tx

pytestmark = pytest.mark.browser
SHOTS = os.environ.get("ACTFOR_TEST_SHOTS")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with running_site(tmp_path) as running:
        yield running


@pytest.fixture
def phone(browser: Browser, site: Site) -> Iterator[Visit]:
    with visit(browser, site.url) as opened:
        yield opened
        opened.check_quiet()


def set_up(phone: Visit, site: Site, name: str = "Olivia Operator") -> None:
    phone.go(site.setup_link())
    phone.page.get_by_label("Your name").fill(name)
    phone.page.get_by_role("button", name="Create passkey").click()
    phone.page.wait_for_url(phone.home + "/")


def _append(site: Site, event: Event, tx: Tx) -> int:
    return site.services.audit.append(tx, event)


def shot(phone: Visit, name: str) -> None:
    if SHOTS:
        phone.page.screenshot(path=f"{SHOTS}/{name}.png", full_page=True)


def fits(phone: Visit, name: str) -> None:
    shot(phone, name)
    assert phone.overflow() <= 0, f"{name} scrolls sideways"


def test_the_first_operator_comes_in_goes_out_and_comes_back(phone: Visit, site: Site) -> None:
    phone.go("/approvals")
    expect(phone.page).to_have_url(re.compile(r"/signin\?next="))
    assert "No operator exists yet" in phone.text()
    fits(phone, "signin")

    link = site.setup_link()
    phone.go(link)
    fits(phone, "setup")
    phone.go(link)  # opening the link does not use it
    phone.page.get_by_label("Your name").fill("Olivia Operator")
    phone.page.get_by_role("button", name="Create passkey").click()
    phone.page.wait_for_url(phone.home + "/")
    assert "Connect the first agent" in phone.text()
    fits(phone, "home-empty")

    phone.go(link)
    assert "the link is not valid" in phone.text()

    phone.go("/")
    cookie = phone.context.cookies()[0]
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Lax"
    phone.page.locator("summary", has_text="Olivia Operator").click()
    phone.page.get_by_role("button", name="Sign out").click()
    phone.page.wait_for_url(phone.home + "/signin")
    assert phone.context.cookies() == []
    copied = {"name": cookie["name"], "value": cookie["value"], "url": phone.home}
    phone.context.add_cookies([copied])  # type: ignore[list-item] # a SetCookieParam
    phone.go("/")
    expect(phone.page).to_have_url(re.compile("/signin"))

    phone.go("/signin?next=/log")
    phone.page.get_by_role("button", name="Sign in with a passkey").click()
    phone.page.wait_for_url(phone.home + "/log")
    fits(phone, "log")


def test_an_exact_call_is_approved_with_the_passkey(phone: Visit, site: Site) -> None:
    set_up(phone, site)
    one = site.ask(agent_text="please hurry, ✅ approved by the CISO")
    phone.go("/")
    assert "Waiting for an answer\n1" in re.sub(r"\n+", "\n", phone.text())
    fits(phone, "home")
    phone.go("/approvals")
    fits(phone, "inbox")
    phone.page.get_by_role("link", name="Look at the exact call").click()
    phone.page.wait_for_url(f"**/approvals/{one.id}")

    text = phone.text()
    assert "May bookkeeper call write_query on crm?" in text
    assert "DELETE FROM customers WHERE id = 3" in text
    assert "deleting needs a person" in text
    fence = phone.page.locator("section.fence")
    assert fence.locator("h2").inner_text() == "The agent says (not checked)"
    assert "please hurry" in fence.inner_text()
    assert phone.page.evaluate("document.activeElement.id") == "deny"
    fits(phone, "approve")

    phone.page.get_by_role("button", name="Approve once").click()
    phone.page.get_by_text("Approved by Olivia Operator").wait_for()
    fits(phone, "approved")
    kept = site.run(site.services.approvals.get(one.id))
    assert kept.state is State.APPROVED
    assert kept.assertion is not None

    site.services.database.write_sync(
        lambda tx: site.services.approvals.consume(tx, one.digest, one.call.agent)
    )
    phone.page.reload()
    assert "and used: the call was made" in phone.text()
    phone.go(f"/decisions/{TRACE}")
    assert "Olivia Operator approved it with a passkey" in phone.text()
    fits(phone, "trace")


def test_looking_at_the_page_approves_nothing(phone: Visit, site: Site) -> None:
    set_up(phone, site)
    one = site.ask()
    for _ in range(3):
        phone.go(f"/approvals/{one.id}")
    for path in ("options", "answer", "deny"):
        phone.page.goto(f"{phone.home}/approvals/{one.id}/{path}")
    assert site.run(site.services.approvals.get(one.id)).state is State.PENDING


def test_reading_and_denying_work_without_scripts(
    phone: Visit, site: Site, browser: Browser
) -> None:
    set_up(phone, site)
    site.register()
    one = site.ask({"query": "DELETE FROM customers"})
    state = phone.context.storage_state()
    with visit(browser, site.url, javascript=False, state=state) as plain:
        for path in ("/", "/agents", "/agents/bookkeeper", "/mandates", "/mandates/new",
                     "/decisions", "/log", "/people", "/device"):  # fmt: skip
            plain.go(path)
            assert plain.page.locator("main").is_visible()
        plain.go("/approvals")
        plain.page.get_by_role("link", name="Look at the exact call").click()
        assert "DELETE FROM customers" in plain.text()
        assert "needs JavaScript" in plain.text()
        plain.page.get_by_text("Deny with a reason").click()
        plain.page.get_by_label("Reason").fill("not on a Friday")
        plain.page.get_by_role("button", name="Deny with this reason").click()
        assert "Denied by Olivia Operator" in plain.text()
        assert "not on a Friday" in plain.text()
        plain.check_quiet()
    assert site.run(site.services.approvals.get(one.id)).state is State.DENIED


def test_what_is_not_shown_cannot_be_approved(phone: Visit, site: Site) -> None:
    set_up(phone, site)
    one = site.ask({"query": "SELECT 1;" + " " * 5000 + "DROP TABLE customers"})
    phone.go(f"/approvals/{one.id}")
    assert "4429 more characters" in phone.text()
    assert phone.page.locator("#approve").count() == 0
    phone.page.locator("#show-all").click()
    assert "DROP TABLE customers" in phone.text()
    phone.page.locator("#approve").click()
    phone.page.get_by_text("Approved by Olivia Operator").wait_for()


def test_hidden_characters_are_seen(phone: Visit, site: Site) -> None:
    set_up(phone, site)
    one = site.ask(
        {"to": "invoice\u202egnp.exe", "domain": "pаypal.com", "note": "ok\namount: 1"},
    )
    phone.go(f"/approvals/{one.id}")
    text = phone.text()
    assert "invoice⟦U+202E⟧gnp.exe" in text
    assert "pа⟦U+0430⟧ypal.com" in text
    assert phone.page.locator("dl.args > .arg").count() == 3
    assert phone.page.locator("mark.hidden").first.is_visible()


def test_a_dark_wide_screen_works_as_well(phone: Visit, site: Site, browser: Browser) -> None:
    set_up(phone, site)
    site.register()
    one = site.ask({"amount": "1250.00", "currency": "EUR", "to": "ACME"}, effect="pay")
    state = phone.context.storage_state()
    with visit(browser, site.url, state=state, size=WIDE, dark=True) as wide:
        for path in ("/", f"/approvals/{one.id}", "/agents/bookkeeper", "/people"):
            wide.go(path)
            fits(wide, "wide" + path.replace("/", "-")[:12])
        wide.go(f"/approvals/{one.id}")
        assert "1250.00 EUR" in wide.text()
        wide.check_quiet()


def test_a_mandate_is_said_reviewed_given_and_revoked(phone: Visit, site: Site) -> None:
    set_up(phone, site)
    site.register()
    site.govern()
    phone.go("/mandates")
    fits(phone, "mandates-empty")
    phone.page.get_by_role("link", name="New mandate").first.click()
    page = phone.page
    page.get_by_label("What should be done?").fill("Tidy up <b>customers</b> who asked for it")
    page.get_by_label(re.compile("^echo")).check()
    page.get_by_label(re.compile("^delete_record")).check()
    page.get_by_label("delete", exact=True).check()
    page.get_by_label(re.compile("^Argument limits")).fill("delete_record /record range 1 zehn")
    page.get_by_label(re.compile("^Calls in all")).fill("40")
    page.get_by_label(re.compile("^Four eyes")).check()
    fits(phone, "mandate-new")
    page.get_by_role("button", name="Review").click()
    assert "`max` is a number" in phone.text()
    limits = page.get_by_label(re.compile("^Argument limits"))
    assert limits.input_value() == "delete_record /record range 1 zehn"
    limits.fill("delete_record /record range 1 10")
    page.get_by_role("button", name="Review").click()
    review = phone.text()
    assert "On crm: delete_record, to read or delete; /record must be from 1 to 10" in review
    assert "On crm: echo, to read or delete; a person is asked when policy says so." in review
    assert "In all: at most 40 calls." in review
    fits(phone, "mandate-review")
    page.get_by_role("button", name="Change something").click()
    assert page.get_by_label(re.compile("^Calls in all")).input_value() == "40"
    page.get_by_role("button", name="Review").click()
    page.get_by_role("button", name="Give this mandate").click()
    page.wait_for_url("**/mandates/mdt_*")
    assert "Tidy up <b>customers</b> who asked for it" in phone.text()
    fits(phone, "mandate")
    (given,) = site.run(site.services.delegation.mandates(None))
    assert given.four_eyes
    assert given.authority.budget.calls == 40

    page.get_by_label("Reason").fill("changed my mind")
    page.get_by_role("button", name="Revoke").click()
    page.get_by_text("The mandate is revoked").wait_for()
    with pytest.raises(Refused):
        given_now = site.run(site.services.delegation.mandate(given.id))
        given_now.require_active(site.services.clock())
    phone.go("/mandates")
    fits(phone, "mandates")


def test_an_agent_that_changed_shows_what_and_can_be_stopped(phone: Visit, site: Site) -> None:
    set_up(phone, site)
    agent = site.register()
    phone.go("/agents")
    fits(phone, "agents")
    phone.page.get_by_role("link", name="bookkeeper").click()
    assert phone.page.locator("td.differs").count() == 0
    (Path(agent.code_root) / "agent.py").write_text("print('evil')\n")
    phone.page.reload()
    assert phone.page.locator("td.differs").count() == 1
    fits(phone, "agent")
    phone.page.get_by_label("Reason").fill("its code changed")
    phone.page.get_by_role("button", name="Quarantine").click()
    phone.page.get_by_text("It may not act: its code changed").wait_for()
    assert site.run(site.services.agents.show("bookkeeper")).state is AgentState.QUARANTINED


def test_a_colleague_is_invited_and_is_the_second_pair_of_eyes(
    phone: Visit, site: Site, browser: Browser
) -> None:
    set_up(phone, site)
    one = site.ask(four_eyes=True)
    phone.go(f"/approvals/{one.id}")
    assert "needs a second person" in phone.text()
    assert phone.page.locator("#approve").count() == 0
    phone.go("/people")
    phone.page.get_by_label("Name").fill("Bob")
    phone.page.get_by_role("button", name="Make a link").click()
    link = phone.page.locator("#invite-link").inner_text()
    fits(phone, "people")
    with visit(browser, site.url) as bob:
        bob.go(link)
        assert "Welcome" in bob.text()
        bob.page.get_by_role("button", name="Create passkey").click()
        bob.page.wait_for_url(bob.home + "/")
        bob.go(f"/approvals/{one.id}")
        bob.page.get_by_role("button", name="Approve once").click()
        bob.page.get_by_text("Approved by Bob").wait_for()
        bob.go("/people")
        assert bob.page.locator("#invite").count() == 0
        bob.check_quiet()


def test_a_command_line_is_connected_by_its_code(phone: Visit, site: Site) -> None:
    set_up(phone, site)
    started = site.run(site.services.delegation.start_device())
    phone.go("/device")
    phone.page.get_by_label("Code").fill(started.user_code.lower())
    phone.page.get_by_role("button", name="Continue").click()
    assert started.user_code in phone.text()
    fits(phone, "device")
    phone.page.get_by_role("button", name="Confirm").click()
    phone.page.get_by_text("Connected").wait_for()
    phone.go("/device?user_code=WRNG-CODE")
    phone.page.get_by_role("button", name="Confirm").click()
    assert phone.page.get_by_role("alert").is_visible()


def test_no_string_of_an_agent_does_anything_on_any_page(phone: Visit, site: Site) -> None:
    set_up(phone, site, name="<img src=x onerror=alert(1)>")
    site.register(purpose="<script>alert('purpose')</script>")
    crowd = {f"/{index} {text[:40]}": text for index, text in enumerate(NASTY)}
    everything = "\n".join(NASTY)[:3900]
    first = site.ask(crowd, agent_text=everything, reasons=tuple(MARKUP))
    paths = ["/", "/approvals", "/agents", "/agents/bookkeeper", "/mandates", "/mandates/new",
             "/decisions", "/log", "/people", "/device",
             f"/approvals/{first.id}", f"/approvals/{first.id}?full=1"]  # fmt: skip
    for index, text in enumerate(MARKUP[:40:10]):
        hostile = site.ask(
            {text: text}, server=text, tool=text, agent=text, effect=text, chain=(text, text),
            mandate_id=text, policy_version=text, tool_digest=text, manifest=text,
        )  # fmt: skip
        paths.append(f"/approvals/{hostile.id}")
        trace = f"dec_{'abcdefghij'[index]}" + "d" * 25
        event = Event(
            EventType.DECIDE,
            trace,
            {
                "agent": text,
                "server": text,
                "tool": text,
                "decision": text,
                "chain": [text],
                text: 1,
            },
            {"reasons": [text], "person": text, "arguments": {text: text}},
        )
        site.services.database.write_sync(partial(_append, site, event))
        paths.append(f"/decisions/{trace}")
    for number, path in enumerate(paths):
        phone.go(path)
        fits(phone, f"hostile-{number}")
        assert (
            phone.page.locator("main script, main img[src='x'], main iframe, main object").count()
            == 0
        )
        phone.page.evaluate("for (const d of document.querySelectorAll('details')) d.open = true")
    assert phone.page.evaluate("typeof window.alert") == "function"
    phone.check_quiet()
