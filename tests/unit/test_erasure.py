"""Erasing a person: the plaintext is in no file any more, and every proof still holds."""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Clock
from tests.fakes.console_authenticator import Passkey
from tests.fakes.gateway_world import EVERYTHING, Token, World, build, counting_http, settle
from tests.fakes.sealed import opened

from actfor.approval import Answer
from actfor.audit import Event, EventType
from actfor.delegation import MandateDraft
from actfor.errors import Kind, Refused
from actfor.gateway.calls import Answered, Attempt, Client, Credentials, Pending
from actfor.gateway.model import Http
from actfor.identity import Person
from actfor.identity.model import PersonState
from actfor.sdk.receipt import verify_receipt
from actfor.server.erasure import Erasure, LedgerLine, read_ledger
from actfor.store import Database
from actfor.wire.log_entry import pseudonym
from actfor.wire.rar import Authority, Budget, Grant
from actfor.wire.rar.constraint import OneOf

CANARIES = ("Wilhelmina Canary", "canary-goal", "canary-argument", "canary-reason", "canary-words")
ALLOWED = "canary-argument-allowed"


def needles() -> Iterator[bytes]:
    for text in (*CANARIES, ALLOWED):
        for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
            yield text.encode(encoding)


def found_in(folder: Path) -> dict[str, list[bytes]]:
    """Which canaries stand in which files of the folder."""
    hits = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            if there := [needle for needle in needles() if needle in content]:
                hits[path.name] = there
    return hits


@dataclass
class Scene:
    world: World
    person: Person
    passkey: Passkey
    erasure: Erasure
    data: Path

    async def call(self, token: Token, tool: str, words: str | None = None, **args: Any) -> Any:
        world = self.world
        url = world.settings.url("counting")
        proof = token.proof(url, world.house.clock())
        caller = await world.enforcer.authenticate(
            "counting", Credentials("DPoP", token.token, proof, "POST", url)
        )
        attempt = Attempt("counting", tool, args, Client(True, True), None, words)
        return await world.enforcer.call(caller, attempt)

    async def live(self) -> None:
        """All that a person leaves behind: mandates, calls, approvals, denials, a session."""
        world, approvals = self.world, self.world.house.approvals
        allowed = OneOf(("canary-argument", ALLOWED))
        grants = (
            Grant("counting", ("echo",), ("read",), {"/text": allowed}),
            Grant("counting", ("query",), EVERYTHING),
        )
        draft = MandateDraft(
            world.agent.name,
            "canary-goal",
            Authority(grants, Budget()),
            world.house.clock() + timedelta(hours=2),
        )
        mandate = await world.delegation.commit_mandate(self.person, draft)
        token = await world.token(person=self.person, mandate=mandate)
        assert isinstance(await self.call(token, "echo", text="canary-argument"), Answered)
        sql = "DELETE FROM people WHERE name = 'canary-argument'"
        asked = await self.call(token, "query", "canary-words", query=sql)
        assert isinstance(asked, Pending)
        (waiting,) = await world.waiting()
        await approvals.answer(self.person, waiting, Answer.DENY, None, "canary-reason")
        await world.house.people.invite_passkey(self.person, self.person.id)
        await world.house.people.register_options(
            await world.house.people.invite_passkey(self.person, self.person.id)
        )
        login = await world.delegation.start_device()
        await world.delegation.approve_device(self.person, login.user_code)
        await world.delegation.revoke_mandate(self.person, mandate.id, "canary-reason")
        await world.token(*grants, person=self.person)  # and one mandate that is still active
        await settle(world.database)


def in_the_clear(data: Path) -> None:
    """The search must be able to fail: what stands in clear is found."""
    for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
        (data / "clear").write_bytes(b"\x01" + CANARIES[0].encode(encoding))
        assert list(found_in(data)) == ["clear"]
    (data / "clear").unlink()


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Http]]:
    journal = tmp_path_factory.mktemp("counting") / "journal"
    with counting_http(journal) as url:
        yield journal, Http(url)


@pytest.fixture
async def scene(
    database: Database, clock: Clock, tmp_path: Path, upstream: tuple[Path, Http]
) -> AsyncIterator[Scene]:
    world = await build(database, clock.now, tmp_path, journal=upstream[0])
    await world.add(transport=upstream[1])
    house = world.house
    world.delegation.on_revoked.append(house.approvals.cancel_for_mandate)
    person, passkey = await house.invite(world.operator, CANARIES[0], "member")
    erasure = Erasure(
        database=database,
        audit=house.audit,
        vault=house.vault,
        people=house.people,
        delegation=world.delegation,
        approvals=house.approvals,
        ledger=tmp_path / "erasures.jsonl",
    )
    yield Scene(world, person, passkey, erasure, tmp_path)
    await world.catalog.close()


@pytest.mark.sqlite
async def test_the_plaintext_is_in_no_file_and_every_proof_holds(scene: Scene) -> None:
    await scene.live()
    world, audit = scene.world, scene.world.house.audit
    texts = scene.world.house.vault.texts
    there = await world.database.read(lambda tx: str(opened(tx, texts)))
    assert all(text in there for text in CANARIES), "before, all of it opens"
    assert found_in(scene.data) == {}
    in_the_clear(scene.data)
    before = (await audit.head()).size
    done = await scene.erasure.erase(world.operator, scene.person.id)
    assert done.compacted
    assert found_in(scene.data) == {}
    # a copy made afterwards, as a backup makes it
    with closing(sqlite3.connect(scene.data / "actfor.db")) as raw:
        raw.execute("VACUUM INTO ?", (str(scene.data / "copy.db"),))
    assert found_in(scene.data) == {}
    # The log still verifies, entry by entry, and says by which leaf what was erased.
    report = await audit.verify()
    assert report.ok, report.problems
    assert set(report.erasures) == {done.leaf}
    assert report.erasures[done.leaf] > 10
    entry = await audit.event(done.leaf)
    assert entry.type == EventType.ERASE
    assert entry.facts == {"action": "erased", "subject": pseudonym(scene.person.id)}
    await audit.checkpoint()
    for index in range(before):
        receipt = await audit.prove(index)
        verified = verify_receipt(receipt.text(), audit.verifier_key)
        assert verified.entry.seq == index
        event = await audit.event(index)
        if event.private.get("person") == scene.person.id:
            raise AssertionError(f"entry {index} still opens")


@pytest.mark.sqlite
async def test_no_leaf_ever_held_a_person_in_clear(scene: Scene) -> None:
    await scene.live()
    with closing(sqlite3.connect(scene.data / "actfor.db")) as raw:
        rows = raw.execute("SELECT leaf, trace FROM log_leaf").fetchall()
    for leaf, trace in rows:
        assert not [needle for needle in needles() if needle in leaf], leaf
        for known in (scene.person.id, scene.world.operator.id, scene.world.operator.name):
            assert known.encode() not in leaf, leaf
            assert known not in trace


async def test_nothing_guessable_stands_in_a_leaf(scene: Scene) -> None:
    """Arguments, goals and limits are few enough to try: their plain digests are not in clear."""
    await scene.live()
    events = await scene.world.house.audit.search(limit=500)
    guessable = {"digest", "call_digest", "arguments_digest", "authority_hash", "intent_hash"}
    for event in events:
        assert not guessable & event.facts.keys(), event
    decided = [e for e in events if e.type == "decide" and "arguments" in e.private]
    assert decided
    assert all("arguments_digest" in event.private for event in decided)


async def test_the_person_is_gone_and_cannot_come_back(scene: Scene) -> None:
    await scene.live()
    world, house = scene.world, scene.world.house
    (active,) = [m for m in await world.delegation.mandates(scene.person) if m.state == "active"]
    await scene.erasure.erase(world.operator, scene.person.id)
    gone = await house.people.person(scene.person.id)
    assert (gone.name, gone.state, gone.roles) == ("", PersonState.ERASED, frozenset())
    assert not await world.delegation.mandates(scene.person)
    with pytest.raises(Refused, match="no such mandate"):
        await world.delegation.mandate(active.id)
    begun = await house.people.signin_options()
    with pytest.raises(Refused):
        await house.people.signin(begun.id, scene.passkey.get(begun.options))
    for state in (PersonState.ACTIVE, PersonState.ERASED):
        with pytest.raises(Refused):
            await house.people.change(world.operator, scene.person.id, state=state)
    revoked = [e.facts["revoked"] for e in await world.log("revoke")]
    assert {"person": {pseudonym(scene.person.id): 2}} in revoked
    assert any(active.id in dict(one.get("mandate", {})) for one in revoked)


async def test_what_is_written_about_them_afterwards_is_not_kept(scene: Scene) -> None:
    world, house = scene.world, scene.world.house
    done = await scene.erasure.erase(world.operator, scene.person.id)
    late = Event(EventType.OUTCOME, "dec_late", {}, {"person": scene.person.id, "x": "canary-goal"})
    index = await world.database.write(lambda tx: house.audit.append(tx, late))
    found = await house.audit.event(index)
    assert (found.private, found.erased, found.erased_by) == ({}, ("person", "x"), (done.leaf,))
    assert found_in(scene.data) == {}
    assert (await house.audit.verify()).ok


async def test_erasing_again_only_compacts(scene: Scene) -> None:
    first = await scene.erasure.erase(scene.world.operator, scene.person.id)
    again = await scene.erasure.erase(scene.world.operator, scene.person.id)
    assert again == first
    assert read_ledger(scene.data / "erasures.jsonl") == [LedgerLine(scene.person.id, first.leaf)]


async def test_only_an_admin_erases_and_never_the_last_one(scene: Scene) -> None:
    world = scene.world
    with pytest.raises(Refused) as refused:
        await scene.erasure.erase(scene.person, scene.person.id)
    assert refused.value.kind is Kind.DENIED
    with pytest.raises(Refused, match="last admin"):
        await scene.erasure.erase(world.operator, world.operator.id)
    with pytest.raises(Refused) as unknown:
        await scene.erasure.erase(world.operator, "usr_nobody")
    assert unknown.value.kind is Kind.NOT_FOUND
    assert not await world.log("erase")


@pytest.mark.sqlite
async def test_who_approved_is_erased_from_what_others_asked(scene: Scene) -> None:
    """An approver's words and signature are theirs, in somebody else's record."""
    world, house = scene.world, scene.world.house
    approver, _ = await house.invite(world.operator, "Second Canary", "approver")
    token = await world.token(four_eyes=True)
    asked = await scene.call(token, "query", query="DELETE FROM a WHERE id = 1")
    assert isinstance(asked, Pending)
    (waiting,) = await world.waiting()
    await house.approvals.answer(approver, waiting, Answer.DENY, None, "canary-reason")
    (told,) = [e for e in await world.log("deny") if "reason" in e.private]
    assert told.private["approver"] == approver.id
    await scene.erasure.erase(world.operator, approver.id)
    left = await house.audit.event(told.index)
    assert left.private["person"] == world.operator.id
    assert left.erased == ("approver", "reason")
    with closing(sqlite3.connect(scene.data / "actfor.db")) as raw:
        kept = raw.execute("SELECT approver, reason, assertion FROM approval").fetchall()
    assert kept == [(approver.id, None, None)]


async def test_a_ledger_that_a_crash_cut_short_is_completed(scene: Scene) -> None:
    done = await scene.erasure.erase(scene.world.operator, scene.person.id)
    ledger = scene.data / "erasures.jsonl"
    ledger.write_text('{"person": "usr_cut", "le')
    assert read_ledger(ledger) == []
    await scene.erasure.keep_ledger()
    assert read_ledger(ledger) == [LedgerLine(scene.person.id, done.leaf)]
    ledger.write_text("nonsense\n")
    with pytest.raises(Refused, match="not a ledger"):
        read_ledger(ledger)


async def test_old_payloads_expire_and_the_log_says_up_to_where(scene: Scene, clock: Clock) -> None:
    await scene.live()
    audit = scene.world.house.audit
    half_a_year = timedelta(days=184)
    assert await audit.expire_payloads(half_a_year) == 0
    old = (await audit.head()).size
    clock.advance(half_a_year.total_seconds())
    event = Event(EventType.OUTCOME, "dec_new", {}, {"kept": "yes"})
    new = await scene.world.database.write(lambda tx: audit.append(tx, event))
    assert await audit.expire_payloads(half_a_year - timedelta(seconds=1)) > 10
    assert (await audit.event(new)).private == {"kept": "yes"}
    assert not [one for one in await audit.events(0, old) if one.private]
    (told,) = [e for e in await audit.search() if e.type == EventType.ERASE]
    assert told.facts["below"] == new
    report = await audit.verify()
    assert (report.problems, report.opened) == ((), 1)
    assert await audit.expire_payloads(half_a_year - timedelta(seconds=1)) == 0
