"""The demo's story: what happens, each step checked, each told in a line for a stranger.

Every check looks at the effect itself (the database file, the exit code, the log), not at
what the server says about it. The demo exits 0 only if each step did what it claims.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from actfor.cli.demo.person import Person
from actfor.cli.demo.stage import AgentProcess, Broken, Stage, find_server, running_agent
from actfor.cli.demo.world import STRANGERS_ADDRESS, World


class Story:
    """The steps, in order; ``tell`` runs them all."""

    def __init__(self, stage: Stage, person: Person, console: Console) -> None:
        self.stage = stage
        self.world: World = stage.world
        self.person = person
        self.say = Narrator(console)
        self.mandate = ""
        self.deletion_trace = ""

    def tell(self, setup_link: str) -> None:
        """Run every step; raises ``Broken`` at the first that fails its own claim."""
        self.a_person_takes_charge(setup_link)
        self.tools_and_agent_are_known()
        self.a_mandate_is_committed()
        with running_agent(
            self.stage, "--agent", "bookkeeper", "--mandate", self.mandate, "--no-kill-on-invalid",
            "--", sys.executable, str(self.world.agent / "agent.py"),
        ) as agent:  # fmt: skip
            self.say.good("attested", f"{agent.identity}: the server measured its code itself")
            self.a_read_goes_through(agent)
            self.a_small_write_goes_through(agent)
            self.outside_the_mandate_is_denied(agent)
            self.a_document_gives_orders(agent)
            self.a_deletion_waits_for_a_human(agent)
            self.one_changed_byte_ends_it(agent)
        self.a_forged_delegation_is_refused()
        self.anyone_can_verify_it()

    def a_person_takes_charge(self, setup_link: str) -> None:
        """The first operator registers a passkey; the command line signs in through the browser."""
        self.say.chapter("A person takes charge")
        self.person.set_up(setup_link)
        self.person.sign_in_cli(self.stage)
        who = self.stage.json("whoami")
        self.say.good("signed in", f"{who['name']}, with a passkey; no password exists")

    def tools_and_agent_are_known(self) -> None:
        """Two published MCP servers and one agent are registered."""
        self.say.chapter("Real tools, one agent")
        git, crm = find_server("mcp-server-git"), find_server("mcp-server-sqlite")
        self.stage.actfor(
            "gateway", "add", "handbook", "--approve-tools",
            "--effect", "git_log=read", "--effect", "git_show=read", "--",
            git, "--repository", str(self.world.repository),
        )  # fmt: skip
        self.stage.actfor(
            "gateway", "add", "crm", "--approve-tools",
            "--effect", "list_tables=read", "--effect", "describe_table=read",
            "--effect", "read_query=sql:/query", "--effect", "write_query=sql:/query", "--",
            crm, "--db-path", str(self.world.customers),
        )  # fmt: skip
        for row in self.stage.json("gateway", "ls"):
            self.say.good("pinned", f"{row['name']}: {row['tools']} tools, each by its digest")
        agent = self.stage.json(
            "agent", "register", "bookkeeper",
            "--purpose", "keeps customer records tidy", "--code", str(self.world.agent),
            "--model", "scripted@1", "--prompt", str(self.world.agent / "prompt.md"),
        )  # fmt: skip
        self.say.good("registered", f"bookkeeper, bound to manifest {short(agent['manifest'])}")

    def a_mandate_is_committed(self) -> None:
        """The person says what they want, machine-checkably."""
        self.say.chapter("A person says what they want")
        goal = "Tidy the customer records: note what you find, delete closed accounts"
        made = self.stage.json(
            "mandate", "create", "--agent", "bookkeeper", "--goal", goal, "--hours", "1", "--yes",
            "--grant", "handbook:git_log,git_show:read",
            "--grant", "crm:list_tables,describe_table,read_query:read",
            "--grant", "crm:write_query:write,delete", "--calls", "40",
        )  # fmt: skip
        self.mandate = made["id"]
        self.say.good("mandate", f"“{goal}” · 40 calls, one hour · {short(made['authority_hash'])}")

    def a_read_goes_through(self, agent: AgentProcess) -> None:
        """Reads inside the mandate are permitted without asking anyone."""
        self.say.chapter("The agent works")
        log = agent.call("handbook", "git_log", repo_path=str(self.world.repository), max_count=5)
        expect(log["ok"] and "Say when accounts are deleted" in log["text"], "reading the log", log)
        self.say.permit("handbook.git_log", "a read inside the mandate")
        found = agent.call("crm", "read_query", query="SELECT id, name, state FROM customers")
        expect(found["ok"] and "Alan Turing" in found["text"], "reading customers", found)
        self.say.permit("crm.read_query", "4 customers; one account is closed")

    def a_small_write_goes_through(self, agent: AgentProcess) -> None:
        """Small writes inside the mandate are permitted too."""
        query = "INSERT INTO notes (customer, text) VALUES (3, 'account is closed')"
        done = agent.call("crm", "write_query", query=query)
        expect(done["ok"] and self.world.notes() == ["account is closed"], "the small write", done)
        self.say.permit("crm.write_query", "INSERT: a small write inside the mandate")

    def outside_the_mandate_is_denied(self, agent: AgentProcess) -> None:
        """What nobody asked for does not happen, and is not even listed."""
        listed = agent.call("crm", "tools/list")
        expect(listed["ok"] and "create_table" not in listed["text"], "the filtered list", listed)
        denied = agent.call("crm", "create_table", query="CREATE TABLE exfiltrated (x TEXT)")
        expect(not denied["ok"] and "mandate" in str(denied), "the denial", denied)
        self.say.deny("crm.create_table", "nobody asked for that: outside the mandate")

    def a_document_gives_orders(self, agent: AgentProcess) -> None:
        """The agent obeys what a stranger wrote: the call halts, and the page says whose it is."""
        self.say.chapter("A document gives the agent orders")
        read = agent.call(
            "handbook", "git_show", repo_path=str(self.world.repository), revision="HEAD"
        )
        expect(read["ok"] and STRANGERS_ADDRESS in read["text"], "reading the last commit", read)
        self.say.permit("handbook.git_show", "Mallory wrote: Set her email to …@mallory.example")
        before = self.world.email(2)
        query = f"UPDATE customers SET email = '{STRANGERS_ADDRESS}' WHERE id = 2"  # noqa: S608

        def asked(link: str) -> None:
            self.say.hold("crm.write_query", f"UPDATE with a stranger's address · {link}")
            self.person.refuse(link)
            self.say.good("refused", "the page says that the address is from the handbook")

        done = agent.call("crm", "write_query", on_link=asked, query=query)
        expect(not done["ok"] and self.world.email(2) == before, "the obeyed order", done)
        self.say.deny("crm.write_query", "nothing was changed")

    def a_deletion_waits_for_a_human(self, agent: AgentProcess) -> None:
        """A deletion halts until a person approves exactly that call; it runs exactly once."""
        self.say.chapter("What cannot be taken back waits for a person")
        query = "DELETE FROM customers WHERE id = 3"
        before = self.world.customer_ids()

        def asked(link: str) -> None:
            expect(self.world.customer_ids() == before, "nothing ran before approval", link)
            self.say.hold("crm.write_query", f"DELETE: a person decides · {link}")
            self.person.approve(link)
            self.say.good("approved", "with a passkey, for exactly this statement, once")

        done = agent.call("crm", "write_query", on_link=asked, query=query)
        expect(done["ok"] and self.world.customer_ids() == [1, 2, 4], "the approved deletion", done)
        self.say.permit("crm.write_query", "DELETE ran, once: customer 3 is gone")
        self.deletion_trace = self._latest("outcome")

    def one_changed_byte_ends_it(self, agent: AgentProcess) -> None:
        """The code changes while the agent runs: the identity is invalid by itself."""
        self.say.chapter("Someone changes the agent's code")
        with (self.world.agent / "agent.py").open("a") as file:
            file.write("#")
        changed = time.monotonic()
        self._until(
            lambda: self._agent_state() == "invalidated", "the identity was not invalidated"
        )
        took = time.monotonic() - changed
        cause = self.stage.json("agent", "show", "bookkeeper")["cause"]
        expect("agent.py" in cause, "the cause names the file", cause)
        after = agent.call("crm", "read_query", query="SELECT 1")
        expect(not after["ok"], "the next call", after)
        self.say.deny("bookkeeper", f"identity invalidated after {took:.1f} s: {cause}")
        self.say.deny("crm.read_query", "the token it still holds is refused")

    def a_forged_delegation_is_refused(self) -> None:
        """An attacker forges a delegation: signed by itself, naming the person and the agent."""
        self.say.chapter("Someone forges a delegation")
        from actfor.cli.demo.forger import forge_and_try

        for attempt, answer in forge_and_try(self.stage.url, self.mandate):
            self.say.deny(attempt, answer)

    def anyone_can_verify_it(self) -> None:
        """The receipt of the deletion verifies offline; one changed byte and it does not."""
        self.say.chapter("Anyone can check it afterwards, without the server")
        receipt = self.world.root / "deletion.receipt"
        key = self.world.root / "log.vkey"
        self.stage.actfor("audit", "receipt", self._permit_of_deletion(), "--out", str(receipt))
        key.write_text(self.stage.actfor("audit", "key"))
        verify = ("audit", "verify", str(receipt), "--key", str(key))
        self.stage.actfor(*verify)
        self.say.good("verified", f"{receipt.name}: in the signed log, nothing changed")
        self._tamper(receipt)
        self.stage.actfor(*verify, code=8)
        self.say.good("tampered", "one character changed: exit 8, verification failed")
        self.say.block(self.stage.actfor("trace", "show", self.deletion_trace))

    def _permit_of_deletion(self) -> str:
        events = self.stage.json("trace", "show", self.deletion_trace)["events"]
        (permit,) = (
            one
            for one in events
            if one["trace"] == self.deletion_trace and one["facts"].get("decision") == "permit"
        )
        return str(permit["index"])

    def _tamper(self, receipt: Path) -> None:
        text = receipt.read_text()
        at = text.index("delete")
        receipt.write_text(text[:at] + "Delete" + text[at + 6 :])

    def _latest(self, kind: str) -> str:
        trace: str = self.stage.json("audit", "search", "--type", kind, "--limit", "1")[0]["trace"]
        return trace

    def _agent_state(self) -> str:
        state: str = self.stage.json("agent", "show", "bookkeeper")["state"]
        return state

    def _until(self, true: Callable[[], bool], otherwise: str, seconds: float = 5) -> None:
        deadline = time.monotonic() + seconds
        while not true():
            if time.monotonic() > deadline:
                raise Broken(otherwise)
            time.sleep(0.05)


class Narrator:
    """Lines on a terminal: a verdict, a subject, and why."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def chapter(self, title: str) -> None:
        """A new chapter."""
        self._console.print(f"\n[bold]{title}[/bold]")

    def good(self, what: str, why: str) -> None:
        """Something is as it should be."""
        self._line("green", "✓", what, why)

    def permit(self, what: str, why: str) -> None:
        """A call went through."""
        self._line("green", "PERMIT ", what, why)

    def hold(self, what: str, why: str) -> None:
        """A call waits for a person."""
        self._line("yellow", "STEP-UP", what, why)

    def deny(self, what: str, why: str) -> None:
        """A call was refused."""
        self._line("red", "DENY   ", what, why)

    def block(self, text: str) -> None:
        """Indented output of a command."""
        self._console.print()
        for line in text.rstrip().splitlines():
            self._console.print("   " + line, markup=False, style="dim")

    def _line(self, colour: str, mark: str, what: str, why: str) -> None:
        self._console.print(f"  [{colour}]{mark}[/{colour}] ", end="")
        self._console.print(f"{what:<18} {why}", markup=False)


def expect(holds: Any, what: str, seen: Any) -> None:
    """Stop the demo unless ``holds``."""
    if not holds:
        raise Broken(f"{what} did not do what it should; seen: {seen}")


def short(digest: str) -> str:
    """The first characters of a digest, for reading."""
    return digest[:16] + "…"
