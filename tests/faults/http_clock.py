"""The part of R9 that is over HTTP: the clock of a whole server's machine is set, by ten years.

libfaketime stands between the process and the system's clock; a file says how wrong it is, and the
steady clock goes on. A token that has expired by the clock is refused, a proof that was spent is
refused whatever the clock says, what reached the tool server is what was answered, the server ends
in order, and its log verifies.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx2
from tests.fakes.backup_world import join, running
from tests.fakes.gateway_mcp import journal_lines
from tests.fakes.gateway_world import EVERYTHING, OVERLAYS, Token, counting_http, modern, register
from tests.faults.harness import Tally, in_processes

from actfor.cli.demo.stage import Stage, free_port
from actfor.cli.demo.world import World
from actfor.delegation import MandateDraft
from actfor.gateway.model import Http
from actfor.identity import ATTESTED_LOCAL, Agent
from actfor.identity.model import Instance
from actfor.identity.repository import agents as agent_rows
from actfor.keys import Purpose
from actfor.server import Settings, load
from actfor.server.wiring import Services
from actfor.store import new_id
from actfor.wire import dpop
from actfor.wire.jose import SigningKey
from actfor.wire.rar import Authority, Budget, Grant
from actfor.wire.spiffe import sign_jwt_svid
from actfor.wire.token_exchange import ExchangeRequest

TEN_YEARS = timedelta(days=3_650)
OVER_HTTP = "looks-once-at-the-clock"
"""The mutant: a server to which the clock is what it was when it began."""


def library() -> Path | None:
    """libfaketime, where it can be loaded into a process of this machine."""
    spec = find_spec("libfaketime")
    places = (spec.submodule_search_locations or ()) if spec else ()
    for found in (path for place in places for path in Path(place).rglob("libfaketime.so.1")):
        asked = [sys.executable, "-c", "import time; print(time.time() > 4e9)"]
        told = subprocess.run(
            asked, env=_faked(found) | {"FAKETIME": "+36500d"}, capture_output=True, text=True
        )
        if told.stdout.strip() == "True":
            return found
    return None


def set_clocks(tally: Tally, mutant: str | None = None) -> None:
    """One server, whose clock is set forward, right, back and right."""
    found = library()
    if found is None:
        print("  over HTTP: not run, libfaketime cannot be loaded here", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory(prefix="actfor-r9-") as short:  # sockets want short paths
        faked = found if mutant is None else None
        for told in in_processes(lambda _: asdict(_one_server(Path(short), faked)), 1):
            tally.add(Tally(**told))


def _faked(found: Path) -> dict[str, str]:
    """The steady clock and the times of files stay as they are."""
    return {
        "LD_PRELOAD": str(found), "FAKETIME_NO_CACHE": "1", "DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }  # fmt: skip


class Served(Stage):
    """A server that has its operator already."""

    def _setup_link(self) -> str:
        return ""


def _one_server(folder: Path, found: Path | None) -> Tally:
    tally = Tally()
    stage = Served(World(folder), free_port())
    port = int(stage.url.rpartition(":")[2])
    settings = load(mode="dev", data=folder / "data", port=port)
    clock = folder / "clock"
    clock.write_text("+0\n")
    if found is not None:
        stage.environment |= _faked(found) | {"FAKETIME_TIMESTAMP_FILE": str(clock)}
    with counting_http(folder / "journal") as url:
        token = asyncio.run(_a_token(settings, folder, Http(url)))
        stage.start()
        process = stage._server
        assert process is not None
        try:
            calls = Calls(stage.url, token, tally, clock)
            calls.through_the_years()
            process.send_signal(signal.SIGTERM)
            if process.wait(15) != 0:
                tally.problems.append("the server did not end in order afterwards")
        finally:
            stage.stop()
        reached = len(journal_lines(folder / "journal"))
    if reached != calls.answered:
        tally.problems.append(f"{reached} calls reached the tool server, {calls.answered} answered")
    tally.acknowledged += calls.answered
    tally.problems += asyncio.run(_verified(settings))
    return tally


class Calls:
    """An agent that calls while the clock of its server is set; its own clock is set with it."""

    def __init__(self, url: str, token: Token, tally: Tally, clock: Path) -> None:
        self._url, self._token, self._tally, self._clock = url, token, tally, clock
        self.answered = 0

    def through_the_years(self) -> None:
        spent = self._proof(timedelta())
        if (first := self._call(spent)) != 200:
            self._tally.problems.append(f"with a right clock a call is answered with {first}")
        for wrong in (TEN_YEARS, timedelta(), -TEN_YEARS, timedelta()):
            self._clock.write_text(f"{wrong.total_seconds():+.0f}\n")
            if self._call(spent) == 200:
                self._tally.double_spent += 1
            for proof in {wrong, timedelta()}:  # fresh by the server's clock, and by a right one
                status = self._call(self._proof(proof))
                if status >= 500:
                    self._tally.problems.append(f"{status} when the clock was set by {wrong}")
                if status == 200 and wrong > timedelta():
                    self._tally.problems.append(f"an expired token is accepted after {wrong}")
                self._tally.count(f"http_{status}")
        ready = httpx2.get(f"{self._url}/readyz", timeout=10).status_code
        if ready != 200:
            self._tally.problems.append(f"the clock is right again, and it is not ready: {ready}")

    def _proof(self, wrong: timedelta) -> dict[str, str]:
        return self._token.headers(f"{self._url}/mcp/counting", datetime.now(UTC) + wrong)

    def _call(self, proof: dict[str, str]) -> int:
        body, headers = modern("tools/call", {"name": "echo", "arguments": {"text": "hello"}})
        headers |= proof | {"accept": "application/json, text/event-stream"}
        told = httpx2.post(f"{self._url}/mcp/counting", json=body, headers=headers, timeout=20)
        done = told.status_code == 200 and '"isError":false' in told.text
        self.answered += done
        return told.status_code if done or told.status_code != 200 else 403


# -- before the server starts ------------------------------------------------------------------------


async def _a_token(settings: Settings, folder: Path, upstream: Http) -> Token:
    async with running(settings) as services:
        olivia = await join(services, await services.people.create_setup_link(), "Olivia")
        agent = await register(services.agents, olivia, folder, services.database)
        await services.catalog.add_server(
            olivia, "counting", upstream, approve_listed=True, overlays=OVERLAYS
        )
        authority = Authority((Grant("counting", ("*",), EVERYTHING),), Budget())
        until = services.clock() + timedelta(hours=2)
        draft = MandateDraft(agent.name, "test the clock", authority, until)
        mandate = await services.delegation.commit_mandate(olivia, draft)
        subject = await services.delegation.subject_token(olivia, mandate.id)
        key, now = SigningKey.generate(), services.clock()
        url = f"{settings.public_url}/token"
        proof = dpop.build_proof(key=key, method="POST", url=url, now=now, jti=new_id("jti"))
        issued = await services.delegation.exchange(
            ExchangeRequest(
                subject, await _svid(services, settings, agent, key),
                f"{settings.public_url}/mcp/counting",
            ),
            dpop.verify_proof(proof, method="POST", url=url, now=now),
        )  # fmt: skip
        return Token(issued.access_token, key, mandate)


async def _svid(services: Services, settings: Settings, agent: Agent, key: SigningKey) -> str:
    """As `AgentService.attest` issues it; the process that was measured is this one."""
    now, life = services.clock(), timedelta(minutes=10)
    instance = agent.id.instance(new_id("ins").removeprefix("ins_"))
    row = Instance(
        instance, agent.name, os.getpid(), 1, "0:0", key.kid, agent.manifest_digest, now + life
    )
    await services.database.write(lambda tx: agent_rows.add_instance(tx, row))
    private: dict[str, Any] = {
        "manifest": agent.manifest_digest, "instance": str(instance),
        "assurance": ATTESTED_LOCAL, "model": {"id": "scripted", "version": "1"},
    }  # fmt: skip
    return sign_jwt_svid(
        agent.id, audience=settings.public_url, jkt=key.kid, jti=new_id("svid"), now=now, ttl=life,
        key=services.keys.signers(Purpose.SVID)[0], private=private,
    )  # fmt: skip


async def _verified(settings: Settings) -> list[str]:
    async with running(settings) as services:
        return list((await services.audit.verify()).problems)
