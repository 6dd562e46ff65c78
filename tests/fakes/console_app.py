"""The whole server as it is wired, on a loopback port, in a thread of its own."""

import asyncio
import socket
import threading
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import uvicorn
from tests.fakes.console_authenticator import Passkey
from tests.fakes.console_people import exact_call
from tests.fakes.gateway_world import SERVER

from actfor.approval import Approval, ExactCall
from actfor.gateway.effects import Overlay
from actfor.gateway.model import Stdio
from actfor.identity import Agent, AgentDraft, ModelRef, Person, ReferenceDraft, Tier, Wanted
from actfor.server.settings import load
from actfor.server.wiring import Application, Services, build
from actfor.wire.canonical import JsonObject

T = TypeVar("T")
TRACE = "dec_" + "c" * 26


@dataclass
class Site:
    """A running server. ``run`` awaits something on its event loop."""

    application: Application
    loop: asyncio.AbstractEventLoop
    url: str
    tmp: Path

    @property
    def services(self) -> Services:
        return self.application.services

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def setup_link(self) -> str:
        link = self.run(self.application.setup_link())
        assert link is not None
        return link

    def operator(self, name: str = "Olivia Operator") -> tuple[Person, str]:
        """The first operator without a browser; the session's cookie."""
        people, passkey = self.services.people, Passkey(self.url)
        token = self.setup_link().partition("?t=")[2]
        begun = self.run(people.register_options(token, name))
        done = self.run(people.register(begun.id, passkey.create(begun.options)))
        return done.person, done.cookie

    def person(self) -> Person:
        """The first person."""
        return self.run(self.services.people.people())[0]

    def ask(
        self,
        arguments: JsonObject | None = None,
        *,
        person_id: str | None = None,
        reasons: tuple[str, ...] = ("deleting needs a person",),
        agent_text: str | None = None,
        four_eyes: bool = False,
        **changes: object,
    ) -> Approval:
        call: ExactCall = exact_call(person_id or self.person().id, arguments, **changes)
        return self.run(
            self.services.approvals.request(
                call,
                decision_trace=TRACE,
                reasons=reasons,
                agent_text=agent_text,
                four_eyes=four_eyes,
            )
        )

    def register(self, name: str = "bookkeeper", purpose: str = "keeps records tidy") -> Agent:
        code = self.tmp / f"code-{name}"
        code.mkdir()
        (code / "agent.py").write_text("print('hello')\n")
        prompt = self.tmp / f"prompt-{name}.txt"
        prompt.write_text("Be careful.\n")
        reference = ReferenceDraft(
            Wanted(path=str(code)),
            Wanted(path="/bin/sh"),
            ModelRef("vendor/model", "2026-10-01"),
            prompt=Wanted(path=str(prompt)),
        )
        draft = AgentDraft(name, purpose, Tier.MEDIUM, reference)
        return self.run(self.services.agents.register(self.person(), draft))

    def govern(self, name: str = "crm") -> None:
        """Put the counting MCP server behind the gateway, all its tools approved."""
        import sys

        transport = Stdio(sys.executable, (str(SERVER), "stdio", str(self.tmp / "journal.jsonl")))
        overlays: Mapping[str, Overlay] = {
            "echo": Overlay.from_json({"effect": "read"}),
            "delete_record": Overlay.from_json({"effect": "delete"}),
            "query": Overlay.from_json({"effect": {"sql": "/query"}}),
        }
        catalog, admin = self.services.catalog, self.person()
        seen = self.run(catalog.preview(admin, name, transport))
        approve = {tool.name: tool.listed_digest for tool in seen.tools.values()}
        self.run(catalog.add_server(admin, name, transport, approve=approve, overlays=overlays))


@contextmanager
def running_site(tmp: Path) -> Iterator[Site]:
    """A server on a free port for the length of the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = load(data=tmp / "data", port=port, log_level="error")
    started: threading.Event = threading.Event()
    found: dict[str, Any] = {}

    async def serve() -> None:
        application = await build(settings, with_default_policies=True)
        config = uvicorn.Config(
            application.asgi, host="127.0.0.1", port=port, lifespan="off", log_config=None,
            access_log=False, ws="none", timeout_graceful_shutdown=2,
        )  # fmt: skip
        server = uvicorn.Server(config)
        server.install_signal_handlers = lambda: None  # type: ignore[attr-defined] # not our thread
        found.update(application=application, server=server, loop=asyncio.get_running_loop())
        serving = asyncio.create_task(server.serve())
        while not server.started and not serving.done():
            await asyncio.sleep(0.01)
        started.set()
        try:
            await serving
        finally:
            await application.close()

    def main() -> None:
        try:
            asyncio.run(serve())
        finally:
            started.set()

    thread = threading.Thread(target=main, name="site")
    thread.start()
    try:
        started.wait(30)
        assert "server" in found, "the server did not start"
        yield Site(found["application"], found["loop"], settings.public_url, tmp)
    finally:
        if "server" in found:
            found["server"].should_exit = True
        thread.join(30)


__all__ = ["TRACE", "Site", "running_site"]
