"""What `actfor run` does: start the agent, have it attested, keep its credentials fresh.

The key is made here, in memory. The agent's process gets an address in ``ACTFOR_SOCKET`` and
nothing else; credentials go over that socket, to the started process and its descendants only.
When the server says that the identity is invalid, none are handed out any more and the agent is
ended.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import psutil

from actfor.cli.api import Api
from actfor.cli.profile import Profile
from actfor.errors import Kind, Refused
from actfor.sdk.attest import AttestationClient, IssuedSvid
from actfor.sdk.sidecar import ADDRESS_VARIABLE, Credentials, CredentialServer
from actfor.sdk.sockets import Peer, descends_from
from actfor.wire import jose
from actfor.wire.jose import SigningKey

EXIT_DENIED = 5
_GRACE_SECONDS = 3.0
_RETRY_SECONDS = 1.0
_MISSING_SECONDS = 15.0
_FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run, as whom, and where the server is."""

    command: Sequence[str]
    agent: str
    attest_socket: str
    issuer: str
    server: str
    mandate: str | None = None
    profile: Profile | None = None
    kill_on_invalid: bool = True


class Launcher:
    """One run of one agent. ``tell`` gets lines for the person at the terminal."""

    def __init__(self, plan: Plan, tell: Callable[[str], None]) -> None:
        self._plan = plan
        self._tell = tell
        self._key = SigningKey.generate()
        self._process: asyncio.subprocess.Process | None = None
        self._client: AttestationClient
        self._svid: IssuedSvid | None = None
        self._api: Api | None = None
        self._subject: str | None = None
        self._settled = asyncio.Event()  # attested for the first time, or refused
        self._invalid = asyncio.Event()
        self._cause: Refused | None = None

    async def run(self) -> int:
        """Run the command to its end; its exit code, or 5 when the identity was refused.

        Raises:
            Refused: before anything was started: no server, no login, no such program.
        """
        # 1. What can fail without the agent fails before the agent runs.
        self._client = await self._connect()
        try:
            await self._refresh_subject()
            with tempfile.TemporaryDirectory(prefix="actfor-", dir=_runtime_folder()) as folder:
                return await self._serve(Path(folder))
        finally:
            await self._client.close()

    async def _serve(self, folder: Path) -> int:
        sidecar = CredentialServer(folder / "agent.sock", allow=self._allow, supply=self._supply)
        await sidecar.start()
        try:
            return await self._supervise(sidecar.address, folder)
        finally:
            await sidecar.close()

    async def _supervise(self, address: str, folder: Path) -> int:
        # 2. Start it; it waits at the socket until it is attested.
        process = self._process = await self._start(address, folder)
        tasks = [
            asyncio.create_task(self._keep_attested(process.pid)),
            asyncio.create_task(self._keep_subject()),
        ]
        try:
            with _forwarding(process):
                return await self._wait(process)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _start(self, address: str, folder: Path) -> asyncio.subprocess.Process:
        bytecode = folder / "bytecode"
        bytecode.mkdir(mode=0o700)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ACTFOR_")}
        environment[ADDRESS_VARIABLE] = address
        # So that Python runs the measured source and no bytecode lying beside it.
        environment["PYTHONPYCACHEPREFIX"] = str(bytecode)
        try:
            return await asyncio.create_subprocess_exec(*self._plan.command, env=environment)
        except (FileNotFoundError, PermissionError, NotADirectoryError) as cause:
            program = self._plan.command[0]
            raise Refused(Kind.NOT_FOUND, f"`{program}` is not a program here") from cause

    async def _wait(self, process: asyncio.subprocess.Process) -> int:
        ended = asyncio.create_task(process.wait())
        invalid = asyncio.create_task(self._invalid.wait())
        await asyncio.wait({ended, invalid}, return_when=asyncio.FIRST_COMPLETED)
        invalid.cancel()
        if not ended.done() and self._plan.kill_on_invalid:
            await asyncio.to_thread(_end_tree, process.pid)
        code = await ended
        if self._invalid.is_set():
            return EXIT_DENIED
        return code if code >= 0 else 128 - code

    # -- credentials ---------------------------------------------------------------------------

    def _allow(self, peer: Peer) -> bool:
        process = self._process
        if process is None or peer.uid != os.getuid():
            return False
        return descends_from(peer.pid, process.pid)

    async def _supply(self) -> Credentials:
        await self._settled.wait()
        if self._cause is not None:
            raise self._cause
        svid = self._svid
        if svid is None or datetime.now(UTC) >= svid.expires_at:
            raise Refused(Kind.BUSY, "the credentials could not be renewed; is the server up?")
        return Credentials(
            agent=svid.agent,
            instance=svid.instance,
            svid=svid.token,
            svid_expires_at=svid.expires_at,
            key=self._key,
            issuer=self._plan.issuer,
            server=self._plan.server,
            mandate=self._plan.mandate,
            subject_token=self._subject,
        )

    async def _keep_attested(self, pid: int) -> None:
        """Attest now, again at half of each SVID's life, and whenever the server comes back."""
        while not self._invalid.is_set():
            try:
                await self._attest(pid)
            except Refused as refused:
                if refused.kind is not Kind.BUSY:
                    self._invalidate(refused)
                    return
                await asyncio.sleep(_RETRY_SECONDS)
                continue

    async def _attest(self, pid: int) -> None:
        if self._client.closed:
            await self._client.close()
            self._client = await self._connect()
        svid = await self._client.attest(self._plan.agent, pid=pid, key=self._key)
        if self._invalid.is_set():
            return
        self._svid = svid
        if not self._settled.is_set():
            self._tell(f"attested as {svid.agent}")
            self._settled.set()
        half = svid.issued_at + (svid.expires_at - svid.issued_at) / 2
        # A server that went away comes back without knowing whom to tell of an invalidation.
        await self._client.wait_closed((half - datetime.now(UTC)).total_seconds())

    async def _connect(self) -> AttestationClient:
        client = await AttestationClient.open(self._plan.attest_socket)
        client.on_invalidated = lambda agent, cause: self._invalidate(
            Refused(Kind.DENIED, f"agent `{self._plan.agent}` is out of service: {cause}")
        )
        return client

    def _invalidate(self, refused: Refused) -> None:
        if self._invalid.is_set():
            return
        self._cause, self._svid, self._subject = refused, None, None
        self._settled.set()
        self._invalid.set()
        self._tell(f"identity refused: {refused.detail}")

    # -- the human's token ---------------------------------------------------------------------

    async def _keep_subject(self) -> None:
        """A new token at half of each one's life; when there is none any more, keep asking."""
        while self._plan.mandate is not None:
            await asyncio.sleep(self._subject_pause())
            try:
                await self._refresh_subject()
            except Refused as refused:
                self._tell(f"the mandate's token could not be renewed: {refused.detail}")

    def _subject_pause(self) -> float:
        if self._subject is None:
            return _MISSING_SECONDS
        left = jose.numeric_date(jose.unverified(self._subject).claims, "exp") - time.time()
        if left <= 0:
            self._subject = None
        return max(_RETRY_SECONDS, left / 2)

    async def _refresh_subject(self) -> None:
        if self._plan.mandate is None:
            return
        if self._api is None:
            self._api = management(self._plan)
        path = f"/v1/mandates/{quote(self._plan.mandate, safe='')}/subject_token"
        answer = await asyncio.to_thread(self._api.post, path, {})
        token = answer.get("subject_token") if isinstance(answer, dict) else None
        if not isinstance(token, str):
            raise Refused(Kind.MALFORMED, "the server's answer is not a subject token")
        jose.numeric_date(jose.unverified(token).claims, "exp")
        self._subject = token


def management(plan: Plan) -> Api:
    """The management API of the plan's server, by the command line's own login.

    Raises:
        Refused: UNAUTHENTICATED when nobody is signed in, or no longer.
    """
    if plan.profile is None:
        raise Refused(Kind.UNAUTHENTICATED, "a mandate needs a login; run `actfor login`")
    return Api(replace(plan.profile, server=plan.server))


@contextmanager
def _forwarding(process: asyncio.subprocess.Process) -> Iterator[None]:
    """Pass signals on to the agent; a terminal's Ctrl-C reaches it by itself."""
    loop = asyncio.get_running_loop()

    def forward(number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            process.send_signal(number)

    def interrupt() -> None:
        if not sys.stdin.isatty():
            forward(signal.SIGINT)

    for number in _FORWARDED:
        loop.add_signal_handler(number, forward, number)
    loop.add_signal_handler(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        for number in (*_FORWARDED, signal.SIGINT):
            loop.remove_signal_handler(number)


def _end_tree(pid: int) -> None:
    """Ask the process and its descendants to end; after a grace period, end them."""
    with suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        family = [*root.children(recursive=True), root]
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.terminate()
        for process in psutil.wait_procs(family, timeout=_GRACE_SECONDS)[1]:
            with suppress(psutil.NoSuchProcess):
                process.kill()


def _runtime_folder() -> str | None:
    folder = os.environ.get("XDG_RUNTIME_DIR")
    return folder if folder and Path(folder).is_dir() else None
