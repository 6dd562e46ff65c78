"""The sidecar's socket: real sockets, real processes; descendants get credentials, nobody else."""

import asyncio
import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from tests.fakes.identity_issuer import Issuer, credentials
from tests.fakes.identity_issuer import serving as serving_issuer

from actfor.errors import Kind, Refused
from actfor.sdk import connect, connect_sync
from actfor.sdk.sidecar import (
    Credentials,
    CredentialServer,
    address_path,
    fetch,
    fetch_sync,
    private_jwk,
    signing_key,
)
from actfor.sdk.sockets import Peer, descends_from, peer_of
from actfor.wire.jose import SigningKey


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="actfor-t-") as made:
        yield Path(made)


@pytest.fixture
def given() -> Credentials:
    return credentials(Issuer(url="http://localhost:8700"), SigningKey.generate())


@asynccontextmanager
async def serving(
    folder: Path, given: Credentials | Refused, *, allow=lambda peer: True
) -> AsyncIterator[CredentialServer]:
    async def supply() -> Credentials:
        if isinstance(given, Refused):
            raise given
        return given

    server = CredentialServer(folder / "agent.sock", allow=allow, supply=supply)
    await server.start()
    try:
        yield server
    finally:
        await server.close()


async def test_credentials_cross_the_socket_unchanged(folder: Path, given: Credentials) -> None:
    async with serving(folder, given) as server:
        assert stat.S_IMODE(Path(address_path(server.address)).stat().st_mode) == 0o600
        for received in (
            await fetch(server.address),
            await asyncio.to_thread(fetch_sync, server.address),
        ):
            assert received.to_json() == given.to_json()
    with pytest.raises(Refused) as gone:
        await fetch(server.address)
    assert gone.value.kind is Kind.BUSY


async def test_the_agent_knows_itself(folder: Path, given: Credentials) -> None:
    async with serving(folder, given) as server:
        async with connect(server.address) as me:
            assert me.identity == "spiffe://example.org/agent/bookkeeper"
            assert me.instance == "spiffe://example.org/agent/bookkeeper/i/1"
            assert me.mandate == "mdt_1"
            assert me.mcp_url("crm") == "http://localhost:8700/mcp/crm"
            assert me.auth("crm") is me.auth("crm")
            for name in ("../x", "a/b", "", "A", "crm?x"):
                with pytest.raises(Refused):
                    me.mcp_url(name)

        def blocking() -> str:
            with connect_sync(server.address) as me:
                return me.identity

        assert await asyncio.to_thread(blocking) == "spiffe://example.org/agent/bookkeeper"


async def test_what_another_agent_passed_on_is_exchanged_with_its_own_credentials(
    folder: Path,
) -> None:
    """Also by an agent that was started without a mandate: it acts through the other one's."""
    key = SigningKey.generate()
    with serving_issuer(Issuer(jkt=key.kid)) as issuer:
        own = credentials(issuer, key, mandate=None, subject_token=None)
        async with serving(folder, own) as server, connect(server.address) as me:
            async with httpx2.AsyncClient(auth=me.auth_through("crm", "handed-over")) as http:
                assert (await http.get(me.mcp_url("crm"))).status_code == 200

            def blocking() -> int:
                with httpx2.Client(auth=me.auth_through("crm", "another")) as http:
                    return http.get(me.mcp_url("crm")).status_code

            assert await asyncio.to_thread(blocking) == 200
            with pytest.raises(Refused, match="there is no mandate"):
                await me.auth("crm").pass_on_async("spiffe://example.org/agent/helper")
        asked = [(one["subject_token"], one["actor_token"]) for one in issuer.exchanges]
    assert asked == [(["handed-over"], ["svid.svid.svid"]), (["another"], ["svid.svid.svid"])]


async def test_a_refusal_crosses_the_socket(folder: Path) -> None:
    refused = Refused(Kind.DENIED, "`agent.py` was changed", code="access_denied")
    async with serving(folder, refused) as server:
        with pytest.raises(Refused) as received:
            await fetch(server.address)
    assert (received.value.kind, received.value.detail, received.value.code) == (
        refused.kind,
        refused.detail,
        refused.code,
    )


CLIENT = """
import sys
from actfor.errors import Refused
from actfor.sdk.sidecar import fetch_sync
try:
    print(fetch_sync(sys.argv[1]).agent)
except Refused as refused:
    print(refused.detail)
"""


async def ask_from_a_child(address: str, *, through_shell: bool = False) -> str:
    argv = [sys.executable, "-c", CLIENT, address]
    if through_shell:
        argv = ["/bin/sh", "-c", '"$@"; true', "sh", *argv]
    process = await asyncio.create_subprocess_exec(*argv, stdout=subprocess.PIPE)
    output, _ = await process.communicate()
    return output.decode().strip()


async def test_descendants_are_answered_and_strangers_are_not(
    folder: Path, given: Credentials
) -> None:
    me = os.getpid()
    async with serving(folder, given, allow=lambda p: descends_from(p.pid, me)) as server:
        assert await ask_from_a_child(server.address) == given.agent
        assert await ask_from_a_child(server.address, through_shell=True) == given.agent
    with subprocess.Popen(["/bin/sleep", "60"]) as other:
        try:
            async with serving(
                folder, given, allow=lambda p: descends_from(p.pid, other.pid)
            ) as server:
                said = await ask_from_a_child(server.address)
                assert said == "only the launched agent gets its credentials"
        finally:
            other.kill()


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"nonsense\n",
        b"[]\n",
        b'{"op": "other"}\n',
        b'{"op": "credentials", "op": "credentials"}\n',
        b"{" * 200 + b"\n",
        b"x" * 70_000 + b"\n",
        b"\xff\n",
    ],
)
async def test_garbage_gets_no_credentials(folder: Path, given: Credentials, line: bytes) -> None:
    async with serving(folder, given) as server:
        reader, writer = await asyncio.open_unix_connection(address_path(server.address))
        writer.write(line)
        answer = json.loads(await reader.readline())
        writer.close()
    assert answer["error"]["kind"] == "malformed"


async def test_hanging_up_early_harms_nobody(folder: Path, given: Credentials) -> None:
    async with serving(folder, given) as server:
        for _ in range(20):
            _, writer = await asyncio.open_unix_connection(address_path(server.address))
            writer.write(b'{"op"')
            writer.close()
        assert (await fetch(server.address)).agent == given.agent


@pytest.mark.parametrize("address", ["", "/tmp/x", "unix:/x", "unix://x", "http://x", "unix:///\0"])
async def test_an_address_is_an_absolute_unix_url(address: str) -> None:
    with pytest.raises(Refused):
        await fetch(address)


@pytest.mark.parametrize(
    "answer",
    [b"{}\n", b"[]\n", b'{"agent": 7}\n', b"", b"x\n", b'{"error": {"kind": "odd"}}\n'],
)
async def test_a_broken_launcher_is_a_refusal(folder: Path, answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answer)
        writer.close()

    server = await asyncio.start_unix_server(serve, folder / "s")
    with pytest.raises(Refused):
        await fetch(f"unix://{folder}/s")
    server.close()


def test_the_kernel_names_the_peer() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        assert peer_of(ours) == Peer(os.getpid(), os.getuid())
    with socket.socket(socket.AF_INET) as tcp, pytest.raises(Refused):
        peer_of(tcp)


def test_ancestry_is_what_the_system_says() -> None:
    assert descends_from(os.getpid(), os.getpid())
    assert descends_from(os.getpid(), os.getppid())
    assert not descends_from(os.getppid(), os.getpid())
    assert not descends_from(2**22 + 1, os.getpid())


def test_a_key_survives_its_jwk_and_wrong_ones_are_refused() -> None:
    key = SigningKey.generate()
    assert signing_key(private_jwk(key)).kid == key.kid
    for wrong in (None, {}, "x", key.public.jwk, {**private_jwk(key), "crv": "P-384"}):
        with pytest.raises(Refused):
            signing_key(wrong)


async def test_not_under_actfor_run_is_said_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACTFOR_SOCKET", raising=False)
    with pytest.raises(Refused, match="actfor run"):
        async with connect():
            pass
