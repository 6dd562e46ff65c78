"""The root key wrapped by an HSM: a real PKCS#11 library (SoftHSM), a token of its own per test."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from actfor.errors import Kind, Refused
from actfor.keys import Place, Purpose, Vault, open_kek
from actfor.keys.kek.pkcs11 import Pkcs11Kek
from actfor.server import load
from actfor.server.wiring import build
from actfor.store import Database

ROOT = Path(__file__).parent.parent.parent
PIN = "123456"
PLACE = Place("signing_key", "kid-1", "sealed")


def softhsm() -> str | None:
    spec = importlib.util.spec_from_file_location("softhsm", ROOT / "scripts" / "softhsm.py")
    assert spec is not None
    assert spec.loader is not None
    sys.path.insert(0, str(ROOT / "scripts"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: str | None = module.find_softhsm()
    return found


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A token `actfor` with the PIN 123456; the setting that names a key in it.

    The library reads its configuration once per process, so the token is the module's.
    """
    library = softhsm()
    if library is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI must run the PKCS#11 tests: scripts/softhsm.py")
        pytest.skip("no SoftHSM on this machine; run scripts/softhsm.py")
    folder = tmp_path_factory.mktemp("hsm")
    (folder / "tokens").mkdir()
    config = folder / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\n")
    os.environ["SOFTHSM2_CONF"] = str(config)
    subprocess.run(
        f"softhsm2-util --init-token --free --label actfor --pin {PIN} --so-pin 12345678".split(),
        check=True,
        capture_output=True,
    )
    pin = folder / "pin"
    pin.write_text(f"{PIN}\n")
    return f"pkcs11:token=actfor;object=kek?module-path={library}&pin-source=file:{pin}"


def test_an_hsm_wraps_and_unwraps_for_one_context_only(token: str, tmp_path: Path) -> None:
    kek = open_kek(token, tmp_path)
    wrapped = kek.wrap(b"k" * 32, b"root 1")
    assert b"k" * 32 not in wrapped
    again = open_kek(token, tmp_path)  # the key is found, not made anew
    assert again.unwrap(wrapped, b"root 1", kek.id) == b"k" * 32
    with pytest.raises(Refused) as moved:
        again.unwrap(wrapped, b"root 2", kek.id)
    assert moved.value.kind is Kind.CONFLICT
    with pytest.raises(Refused) as changed:
        again.unwrap(wrapped[:-1] + bytes([wrapped[-1] ^ 1]), b"root 1", kek.id)
    assert changed.value.kind is Kind.CONFLICT
    with pytest.raises(Refused, match="wrapped by `file-1`"):
        again.unwrap(wrapped, b"root 1", "file-1")


def test_the_key_never_leaves_the_hsm(token: str, tmp_path: Path) -> None:
    kek = open_kek(token, tmp_path)
    assert isinstance(kek, Pkcs11Kek)
    library, key = kek._library, kek._key
    assert key[library.Attribute.SENSITIVE]
    assert not key[library.Attribute.EXTRACTABLE]
    with pytest.raises(library.PKCS11Error):
        key[library.Attribute.VALUE]


def test_a_database_under_an_hsm_opens_with_it_and_not_with_a_file(
    token: str, tmp_path: Path, database: Database
) -> None:
    vault = Vault(open_kek(token, tmp_path))
    sealed = database.write_sync(lambda tx: vault.seal(tx, b"secret", PLACE))
    fresh = Vault(open_kek(token, tmp_path))
    assert database.read_sync(lambda tx: fresh.open(tx, sealed, PLACE)) == b"secret"
    file = Vault(open_kek("file", tmp_path))
    with pytest.raises(Refused, match="pkcs11-actfor-kek"):
        database.read_sync(lambda tx: file.open(tx, sealed, PLACE))
    moved = Vault(open_kek("file", tmp_path), before=open_kek(token, tmp_path))
    database.write_sync(moved.ensure)
    assert database.read_sync(lambda tx: file.open(tx, sealed, PLACE)) == b"secret"


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ("token=actfor", "token=other", Kind.BUSY),
        ("module-path=/", "module-path=/nowhere/", Kind.BUSY),
    ],
)
def test_what_cannot_be_reached_is_said(
    token: str, tmp_path: Path, old: str, new: str, kind: Kind
) -> None:
    with pytest.raises(Refused) as refused:
        open_kek(token.replace(old, new), tmp_path)
    assert refused.value.kind is kind


def test_a_wrong_pin_is_refused(token: str, tmp_path: Path) -> None:
    """In a process of its own: one that is logged in already is not asked again."""
    (tmp_path / "pin").write_text("654321")
    setting = token.rpartition("file:")[0] + f"file:{tmp_path}/pin"
    code = "import sys, pathlib, actfor.keys as k; k.open_kek(sys.argv[1], pathlib.Path('.'))"
    done = subprocess.run(
        [sys.executable, "-c", code, setting], capture_output=True, text=True, timeout=60
    )
    assert "PinIncorrect" in done.stderr
    assert "654321" not in done.stderr


async def test_a_server_starts_under_an_hsm_and_finds_its_keys_again(
    token: str, tmp_path: Path
) -> None:
    settings = load(mode="dev", data=tmp_path / "data", kek=token)
    first = await build(settings, with_default_policies=True)
    kid = first.services.keys.signers(Purpose.SVID)[0].kid
    await first.services.keys.rewrap(by="usr_1")
    with pytest.raises(Refused, match="rotate this KEK at its provider"):
        await first.services.keys.rewrap(by="usr_1", new_kek=True)
    await first.close()
    # No KEK is in a file; what can be cut out at an erasure has to be one.
    assert [one.name for one in (tmp_path / "data" / "keys").iterdir()] == ["erasure.key"]
    again = await build(settings, with_default_policies=True)
    assert again.services.keys.signers(Purpose.SVID)[0].kid == kid
    assert (await again.services.audit.verify()).ok
    await again.close()
