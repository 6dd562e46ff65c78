"""Keys: their lives, what wraps them, and that no ciphertext opens anywhere but at its place."""

import asyncio
import stat
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from tests.conftest import Clock
from tests.fakes.transit import Transit

from actfor.errors import Kind, Refused
from actfor.keys import (
    Change,
    Cipher,
    Erased,
    Key,
    KeyService,
    KeyState,
    Place,
    Purpose,
    Rewrapped,
    Schedule,
    Vault,
    open_kek,
)
from actfor.keys.envelope import new_key
from actfor.keys.kek.file import FileKek
from actfor.keys.model import FIXED, Step, due
from actfor.store import Database, Tx
from actfor.wire.base64_text import base64url

NOW = datetime(2026, 11, 24, tzinfo=UTC)
PLACE = Place("signing_key", "kid-1", "sealed")
QUICK = Schedule(timedelta(seconds=60), timedelta(seconds=10), timedelta(seconds=30))


def key(state: KeyState, since: float = 0, rotate_at: float | None = None) -> Key:
    due_at = None if rotate_at is None else NOW + timedelta(seconds=rotate_at)
    return Key("k-" + state, Purpose.SVID, state, NOW, NOW + timedelta(seconds=since), due_at)


# -- a key's life ----------------------------------------------------------------------------


@pytest.mark.parametrize("old", list(KeyState))
@pytest.mark.parametrize("new", list(KeyState))
def test_a_key_moves_one_step_and_never_back(old: KeyState, new: KeyState) -> None:
    order = list(KeyState)
    if order.index(new) == order.index(old) + 1:
        assert key(old).moved(new, NOW).state is new
    else:
        with pytest.raises(Refused):
            key(old).moved(new, NOW)


@pytest.mark.parametrize("state", list(KeyState))
def test_an_emergency_ends_a_key_in_any_state_but_once(state: KeyState) -> None:
    if state is KeyState.DEAD:
        with pytest.raises(Refused):
            key(state).killed("stolen", NOW)
    else:
        assert key(state).killed("stolen", NOW).state is KeyState.DEAD


def test_without_a_signing_key_one_is_made_at_once() -> None:
    assert due(Purpose.SVID, [], QUICK, NOW) == [Step(Purpose.SVID, None, KeyState.ACTIVE)]
    waiting = key(KeyState.PENDING)
    assert due(Purpose.SVID, [waiting], QUICK, NOW) == [
        Step(Purpose.SVID, waiting, KeyState.ACTIVE)
    ]


def test_a_clock_that_steps_back_makes_nothing_due() -> None:
    keys = [key(KeyState.ACTIVE, 0, 60), key(KeyState.RETIRING, 0)]
    assert due(Purpose.SVID, keys, QUICK, NOW - timedelta(days=4000)) == []


@pytest.mark.parametrize("purpose", sorted(FIXED))
def test_keys_that_are_what_they_name_never_rotate(purpose: Purpose) -> None:
    active = replace(key(KeyState.ACTIVE), purpose=purpose)
    assert due(purpose, [active], QUICK, NOW + timedelta(days=4000)) == []


def test_a_schedule_that_never_uses_a_key_is_refused() -> None:
    with pytest.raises(Refused):
        Schedule(timedelta(days=1), timedelta(days=1))


@given(st.lists(st.one_of(st.floats(0, 200), st.sampled_from(["kill", "rotate"])), max_size=40))
def test_whatever_happens_one_key_signs_and_none_is_used_before_or_after_its_time(
    moves: list[float | str],
) -> None:
    now, keys = NOW, dict[str, Key]()
    published: dict[str, datetime] = {}
    emergencies = {NOW}

    def settle() -> None:
        for _ in range(5):
            for step in due(Purpose.SVID, list(keys.values()), QUICK, now):
                made = step.key or replace(
                    key(KeyState.PENDING), kid=f"k{len(keys)}", since=now, created_at=now
                )
                published.setdefault(made.kid, now)
                if step.to is not KeyState.PENDING:
                    until = now + QUICK.rotate_every if step.to is KeyState.ACTIVE else None
                    moved = made.moved(step.to, now, rotate_at=until)
                    if step.to is KeyState.ACTIVE and now not in emergencies:
                        assert now - published[made.kid] >= QUICK.publish_ahead
                    if step.to is KeyState.DEAD:
                        assert now - made.since >= QUICK.overlap
                    made = moved
                keys[made.kid] = made
        assert [k.state for k in keys.values()].count(KeyState.ACTIVE) == 1
        assert due(Purpose.SVID, list(keys.values()), QUICK, now) == []

    settle()
    for move in moves:
        if move == "kill":
            emergencies.add(now)
            keys.update({k.kid: k.killed("x", now) for k in keys.values() if k.is_live})
        elif move == "rotate":
            keys.update(
                {
                    k.kid: replace(k, rotate_at=now)
                    for k in keys.values()
                    if k.state is KeyState.ACTIVE
                }
            )
        else:
            now += timedelta(seconds=float(move))
        settle()


# -- sealed for one place --------------------------------------------------------------------


@given(st.binary(max_size=200))
def test_what_is_sealed_opens_at_its_place(data: bytes) -> None:
    cipher = Cipher(new_key())
    assert cipher.open(cipher.seal(data, PLACE), PLACE) == data


@pytest.mark.parametrize(
    "elsewhere",
    [
        PLACE._replace(row="kid-2"),
        PLACE._replace(table="data_key"),
        PLACE._replace(column="cause"),
        PLACE._replace(version=2),
        PLACE._replace(tenant="other"),
        Place("signing_keyk", "id-1", "sealed"),  # the same bytes in a row, cut elsewhere
    ],
)
def test_it_opens_nowhere_else(elsewhere: Place) -> None:
    cipher = Cipher(new_key())
    with pytest.raises(Refused, match="does not decrypt"):
        cipher.open(cipher.seal(b"secret", PLACE), elsewhere)


@settings(max_examples=60)
@given(st.data())
def test_a_changed_bit_or_another_key_opens_nothing(data: st.DataObject) -> None:
    cipher = Cipher(new_key())
    sealed = bytearray(cipher.seal(b"secret", PLACE))
    at = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[at // 8] ^= 1 << at % 8
    with pytest.raises(Refused):
        cipher.open(bytes(sealed), PLACE)
    with pytest.raises(Refused):
        Cipher(new_key()).open(cipher.seal(b"secret", PLACE), PLACE)


# -- the providers ---------------------------------------------------------------------------


def test_the_key_file_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    first = open_kek("file", tmp_path)
    assert stat.S_IMODE((tmp_path / "kek.key").stat().st_mode) == 0o600
    assert open_kek("file", tmp_path).id == first.id
    assert open_kek(f"file:{tmp_path}/kek.key", Path("/nowhere")).id == first.id


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    open_kek("file", tmp_path)
    (tmp_path / "kek.key").chmod(mode)
    with pytest.raises(Refused, match="readable by others"):
        open_kek("file", tmp_path)


@pytest.mark.parametrize("content", ["", "file-0 00\n", "file-0123456789abcdef " + "0" * 64 + "\n"])
def test_a_key_file_without_a_key_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "kek.key").touch(0o600)
    (tmp_path / "kek.key").write_text(content)
    with pytest.raises(Refused):
        open_kek("file", tmp_path)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("age:x", "is not file"),
        ("pkcs11:object=kek?module-path=/x", "names no `token`"),
        ("pkcs11:token=t;object=kek", "no `module-path`"),
        ("transit:http://vault.example/v1/transit/keys/k", "needs https"),
        ("transit:https://vault.example/v1/transit/k?token-source=file:/x", "needs a path"),
        ("transit:https://vault.example/v1/transit/keys/k", "token-source"),
        ("transit:https://v.example/v1/t/keys/k?token-source=file:/nowhere/t", "No such file"),
    ],
)
def test_a_wrong_provider_setting_is_refused_by_name(
    tmp_path: Path, setting: str, says: str
) -> None:
    with pytest.raises(Refused, match=says):
        open_kek(setting, tmp_path)


@pytest.fixture
def transit(tmp_path: Path) -> Iterator[Transit]:
    (tmp_path / "token").write_text("s.root\n")
    with Transit("s.root") as service:
        yield service


def test_a_key_service_wraps_and_unwraps(tmp_path: Path, transit: Transit) -> None:
    kek = open_kek(
        f"transit:{transit.url}/v1/transit/keys/actfor?token-source=file:{tmp_path}/token", tmp_path
    )
    wrapped = kek.wrap(b"k" * 32, b"root 1")
    assert b"k" * 32 not in wrapped
    assert kek.unwrap(wrapped, b"root 1", kek.id) == b"k" * 32
    with pytest.raises(Refused) as moved:
        kek.unwrap(wrapped, b"root 2", kek.id)
    assert moved.value.kind is Kind.CONFLICT
    with pytest.raises(Refused, match="wrapped by `file-1`"):
        kek.unwrap(wrapped, b"root 1", "file-1")
    (tmp_path / "token").write_text("s.other")
    with pytest.raises(Refused) as denied:
        kek.wrap(b"k" * 32, b"root 1")
    assert denied.value.kind is Kind.DENIED
    transit.stop()
    with pytest.raises(Refused) as gone:
        kek.wrap(b"k" * 32, b"root 1")
    assert gone.value.kind is Kind.BUSY


# -- the vault -------------------------------------------------------------------------------


@pytest.fixture
def kek(tmp_path: Path) -> FileKek:
    return FileKek.open(tmp_path / "kek.key")


def test_a_subject_has_one_data_key_until_it_is_erased_for_ever(
    database: Database, kek: FileKek
) -> None:
    vault = Vault(kek)

    def seal(tx: Tx) -> tuple[str, bytes]:
        found = vault.key_of(tx, "usr_1")
        assert not isinstance(found, Erased)
        return found.id, found.cipher.seal(b"secret", PLACE)

    name, sealed = database.write_sync(seal)
    assert database.write_sync(seal)[0] == name

    def opened(tx: Tx) -> bytes | Erased | None:
        found = Vault(kek).find(tx, name)
        return found.open(sealed, PLACE) if isinstance(found, Cipher) else found

    assert database.read_sync(opened) == b"secret"
    assert database.write_sync(lambda tx: vault.erase(tx, "usr_1", 7))
    assert not database.write_sync(lambda tx: vault.erase(tx, "usr_1", 8))
    assert database.read_sync(opened) == Erased(name, 7)
    assert database.write_sync(lambda tx: vault.key_of(tx, "usr_1")) == Erased(name, 7)


def test_a_data_key_of_a_unit_that_failed_is_not_remembered(
    database: Database, kek: FileKek
) -> None:
    vault = Vault(kek)

    def failing(tx: Tx) -> None:
        vault.key_of(tx, "usr_1")
        raise Refused(Kind.DENIED, "no")

    with pytest.raises(Refused):
        database.write_sync(failing)

    def name(tx: Tx) -> str:
        found = vault.key_of(tx, "usr_1")
        assert not isinstance(found, Erased)
        return found.id

    kept = database.write_sync(name)
    assert isinstance(database.read_sync(lambda tx: vault.find(tx, kept)), Cipher)


def test_another_key_file_opens_nothing_and_says_which_is_missing(
    database: Database, kek: FileKek, tmp_path: Path
) -> None:
    database.write_sync(Vault(kek).ensure)
    other = FileKek.open(tmp_path / "other.key")
    with pytest.raises(Refused, match=kek.id):
        database.write_sync(Vault(other).ensure)


def test_a_new_provider_takes_over_where_the_old_one_is_named(
    database: Database, kek: FileKek, tmp_path: Path
) -> None:
    old = Vault(kek)
    sealed = database.write_sync(lambda tx: old.seal(tx, b"secret", PLACE))
    other = FileKek.open(tmp_path / "other.key")
    database.write_sync(Vault(other, before=kek).ensure)
    assert database.read_sync(lambda tx: Vault(other).open(tx, sealed, PLACE)) == b"secret"
    with pytest.raises(Refused):
        database.read_sync(lambda tx: Vault(kek).open(tx, sealed, PLACE))


def test_rewrapping_leaves_nothing_that_the_old_keys_wrapped(
    database: Database, kek: FileKek
) -> None:
    vault = Vault(kek)
    sealed = database.write_sync(lambda tx: vault.seal(tx, b"secret", PLACE))
    database.write_sync(lambda tx: vault.key_of(tx, "usr_1"))
    new = kek.rotated()
    assert database.write_sync(lambda tx: vault.rewrap(tx, new)) == 2
    last = new.only_current()
    assert FileKek.open(kek.path).keys == last.keys
    assert len(last.keys) == 1
    for reader in (vault, Vault(last)):
        assert database.read_sync(lambda tx, at=reader: at.open(tx, sealed, PLACE)) == b"secret"
    with pytest.raises(Refused):
        database.read_sync(lambda tx: Vault(kek).open(tx, sealed, PLACE))


# -- signing keys ----------------------------------------------------------------------------


class Told(list[Change | Rewrapped]):
    def __call__(self, _tx: Tx, change: Change | Rewrapped) -> None:
        self.append(change)

    def of(self, purpose: Purpose) -> list[KeyState]:
        return [c.key.state for c in self if isinstance(c, Change) and c.key.purpose is purpose]


async def start(database: Database, kek: FileKek, clock: Clock) -> tuple[KeyService, Told]:
    keys = KeyService(
        database, Vault(kek), clock.now, schedules=dict.fromkeys(Purpose, QUICK), log_name="a/log"
    )
    told = Told()
    await keys.open()
    await keys.start(told)
    return keys, told


async def test_the_first_start_makes_a_key_for_each_purpose_and_tells_the_log(
    database: Database, kek: FileKek, clock: Clock
) -> None:
    keys, told = await start(database, kek, clock)
    for purpose in Purpose:
        assert [held.key.state for held in keys.held(purpose)] == [KeyState.ACTIVE]
        assert told.of(purpose) == [KeyState.ACTIVE]
    again, told = await start(database, kek, clock)
    assert not told
    assert again.signers(Purpose.SVID)[0].kid == keys.signers(Purpose.SVID)[0].kid
    assert again.log_signer().verifier == keys.log_signer().verifier


async def test_a_successor_is_published_then_signs_while_the_old_one_still_verifies(
    database: Database, kek: FileKek, clock: Clock
) -> None:
    keys, told = await start(database, kek, clock)
    first = keys.signers(Purpose.ACCESS_TOKEN)[0].kid
    for seconds, signs, live in ((49, True, 1), (2, True, 2), (9, True, 2), (2, False, 2)):
        clock.advance(seconds)
        await keys.advance()
        assert (keys.signers(Purpose.ACCESS_TOKEN)[0].kid == first) is signs
        assert len(keys.signers(Purpose.ACCESS_TOKEN)) == live
    clock.advance(31)
    await keys.advance()
    assert first not in {key.kid for key in keys.signers(Purpose.ACCESS_TOKEN)}
    life = [KeyState.ACTIVE, KeyState.PENDING, KeyState.RETIRING, KeyState.ACTIVE, KeyState.DEAD]
    assert told.of(Purpose.ACCESS_TOKEN)[:5] == life


async def test_a_rotation_that_is_asked_for_still_publishes_first(
    database: Database, kek: FileKek, clock: Clock
) -> None:
    keys, _ = await start(database, kek, clock)
    first = keys.signers(Purpose.SVID)[0].kid
    await keys.rotate(Purpose.SVID, by="usr_1")
    assert keys.signers(Purpose.SVID)[0].kid == first
    assert len(keys.signers(Purpose.SVID)) == 2
    clock.advance(10)
    await keys.advance()
    assert keys.signers(Purpose.SVID)[0].kid != first


async def test_an_emergency_ends_every_key_of_the_purpose_in_one_transaction(
    database: Database, kek: FileKek, clock: Clock
) -> None:
    keys, told = await start(database, kek, clock)
    await keys.rotate(Purpose.ACCESS_TOKEN, by="usr_1")
    before = {key.kid for key in keys.signers(Purpose.ACCESS_TOKEN)}
    new = await keys.revoke(Purpose.ACCESS_TOKEN, by="usr_1", cause="stolen")
    assert [key.kid for key in keys.signers(Purpose.ACCESS_TOKEN)] == [new.kid]
    assert len(before) == 2
    for kid in before:
        with pytest.raises(Refused, match="revoked"):
            database.read_sync(lambda tx, kid=kid: keys.check(tx, kid))
    database.read_sync(lambda tx: keys.check(tx, new.kid))
    ended = [c for c in told if isinstance(c, Change) and c.revoked]
    assert {change.key.kid for change in ended} == before
    rows = database.read_sync(
        lambda tx: tx.run(text("SELECT kid FROM signing_key WHERE sealed IS NULL"))
    )
    assert {kid for (kid,) in rows} == before


async def test_units_of_the_same_transaction_see_that_a_key_is_dead(
    database: Database, kek: FileKek, clock: Clock
) -> None:
    """Group commit: the kill and the use may share one transaction, in this order."""
    keys, _ = await start(database, kek, clock)
    kid = keys.signers(Purpose.ACCESS_TOKEN)[0].kid
    kill = asyncio.create_task(keys.revoke(Purpose.ACCESS_TOKEN, by="usr_1", cause="stolen"))
    uses = [asyncio.create_task(database.write(lambda tx: keys.check(tx, kid))) for _ in range(20)]
    await kill
    for use in uses:
        with pytest.raises(Refused, match="revoked"):
            await use


async def test_another_node_learns_of_it(database: Database, kek: FileKek, clock: Clock) -> None:
    one, _ = await start(database, kek, clock)
    two, _ = await start(database, kek, clock)
    new = await one.revoke(Purpose.SEAL, by="usr_1", cause="stolen")
    assert two.held(Purpose.SEAL)[0].key.kid != new.kid
    await two.reload()
    assert two.secrets(Purpose.SEAL) == one.secrets(Purpose.SEAL)


async def test_only_what_rotates_is_rotated(database: Database, kek: FileKek, clock: Clock) -> None:
    keys, _ = await start(database, kek, clock)
    for purpose in FIXED:
        with pytest.raises(Refused, match="does not rotate"):
            await keys.rotate(purpose, by="usr_1")
        with pytest.raises(Refused, match="does not rotate"):
            await keys.revoke(purpose, by="usr_1", cause="x")
    with pytest.raises(Refused, match="no live"):
        await keys.revoke(Purpose.SVID, by="usr_1", cause="x", kid="unknown")
    with pytest.raises(Refused, match="needs a cause"):
        await keys.revoke(Purpose.SVID, by="usr_1", cause="  ")


async def test_two_rows_whose_ciphertexts_were_swapped_do_not_open(
    database: Database, kek: FileKek, clock: Clock
) -> None:
    await start(database, kek, clock)

    def swap(tx: Tx) -> None:
        for statement in (
            "CREATE TEMP TABLE s AS SELECT purpose, sealed FROM signing_key",
            "UPDATE signing_key SET sealed = (SELECT sealed FROM s WHERE s.purpose = 'svid')"
            " WHERE purpose = 'access-token'",
            "UPDATE signing_key SET sealed = (SELECT sealed FROM s WHERE s.purpose ="
            " 'access-token') WHERE purpose = 'svid'",
        ):
            tx.run(text(statement))

    database.write_sync(swap)
    with pytest.raises(Refused, match="does not decrypt"):
        await start(database, kek, clock)


@pytest.mark.sqlite
async def test_a_dump_of_the_database_holds_no_private_key(
    database: Database, kek: FileKek, clock: Clock, tmp_path: Path
) -> None:
    keys, _ = await start(database, kek, clock)
    secrets = [held.secret for purpose in Purpose for held in keys.held(purpose)]
    secrets += [b"PRIVATE KEY", b"PRIVATE+KEY", *kek.keys]
    found = b"".join(path.read_bytes() for path in tmp_path.glob("actfor.db*"))
    assert found
    for secret in secrets:
        for shape in (secret, secret.hex().encode(), base64url(secret).encode()):
            assert shape not in found


async def test_rewrap_is_told_to_the_log_and_keys_still_open(
    database: Database, kek: FileKek, clock: Clock
) -> None:
    keys, told = await start(database, kek, clock)
    assert await keys.rewrap(by="usr_1", new_kek=True) == 1
    assert isinstance(told[-1], Rewrapped)
    fresh = FileKek.open(kek.path)
    assert keys.kek_id == fresh.id != kek.id
    again, _ = await start(database, fresh, clock)
    assert again.secrets(Purpose.SEAL) == keys.secrets(Purpose.SEAL)
