"""The root key wrapped by a real OpenBao, where there is one; `test_keys` has the simulator."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from actfor.cli.demo.stage import free_port
from actfor.errors import Kind, Refused
from actfor.keys import Place, Vault, open_kek
from actfor.store import Database

pytestmark = pytest.mark.skipif(
    shutil.which("bao") is None, reason="no OpenBao on this machine; the simulator stands in"
)
PLACE = Place("signing_key", "kid-1", "sealed")


@pytest.fixture
def setting(tmp_path: Path) -> Iterator[str]:
    """A development server with a transit key; the setting that names it."""
    url = f"http://127.0.0.1:{free_port()}"
    command = ["bao", "server", "-dev", "-dev-no-store-token", "-dev-root-token-id=root"]
    server = subprocess.Popen(
        [*command, f"-dev-listen-address={url.removeprefix('http://')}"],
        env={**os.environ, "HOME": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        headers = {"x-vault-token": "root"}
        with httpx2.Client(base_url=url, headers=headers) as client:
            for _ in range(100):
                try:
                    if client.get("/v1/sys/health").status_code == 200:
                        break
                except httpx2.TransportError:
                    time.sleep(0.2)
            client.post("/v1/sys/mounts/transit", json={"type": "transit"}).raise_for_status()
            key = client.post("/v1/transit/keys/actfor", json={"type": "aes256-gcm96"})
            key.raise_for_status()
        (tmp_path / "token").write_text("root")
        yield f"transit:{url}/v1/transit/keys/actfor?token-source=file:{tmp_path}/token"
    finally:
        server.terminate()
        server.wait(20)


def test_openbao_wraps_for_one_context_only(
    setting: str, tmp_path: Path, database: Database
) -> None:
    kek = open_kek(setting, tmp_path)
    wrapped = kek.wrap(b"k" * 32, b"root 1")
    assert kek.unwrap(wrapped, b"root 1", kek.id) == b"k" * 32
    with pytest.raises(Refused) as moved:
        kek.unwrap(wrapped, b"root 2", kek.id)
    assert moved.value.kind is Kind.CONFLICT
    sealed = database.write_sync(lambda tx: Vault(kek).seal(tx, b"secret", PLACE))
    fresh = Vault(open_kek(setting, tmp_path))
    assert database.read_sync(lambda tx: fresh.open(tx, sealed, PLACE)) == b"secret"
    (tmp_path / "token").write_text("another")
    with pytest.raises(Refused) as denied:
        kek.wrap(b"k" * 32, b"root 1")
    assert denied.value.kind is Kind.DENIED
