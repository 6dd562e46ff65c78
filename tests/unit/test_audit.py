"""The log: in the caller's transaction or not at all, signed consistently, checked when opened."""

import asyncio
import hmac
import json
from base64 import urlsafe_b64encode

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import Clock
from tests.fakes.audit_log import AGENT, ORIGIN, SIGNER, decided, grow, open_log

from actfor.audit import AuditLog, Event, EventType, NoteSigner
from actfor.audit.model import references
from actfor.audit.repository import log_head, log_sealed
from actfor.errors import Kind, Refused
from actfor.store import Database, Tx, new_id
from actfor.wire import merkle
from actfor.wire.canonical import JsonValue, canonical
from actfor.wire.checkpoint import Checkpoint
from actfor.wire.log_entry import LogEntry, Opening, member_salt, seal
from actfor.wire.tiles import Tile, decode_entries


@pytest.fixture
def log(database: Database, clock: Clock) -> AuditLog:
    return open_log(database, clock)


async def head_of(note: str) -> Checkpoint:
    return Checkpoint.verified(note, SIGNER.verifier)


async def test_events_are_numbered_in_the_order_of_their_units(
    database: Database, log: AuditLog
) -> None:
    indexes = await asyncio.gather(
        *[database.write(lambda tx: log.append(tx, decided())) for _ in range(50)]
    )
    assert list(indexes) == list(range(50))
    assert (await log.head()).size == 50


async def test_an_event_is_logged_exactly_when_its_unit_is_durable(
    database: Database, log: AuditLog
) -> None:
    def failing(tx: Tx) -> None:
        log.append(tx, decided(1))
        log.append(tx, decided(2))
        raise Refused(Kind.DENIED, "no")

    await asyncio.gather(
        database.write(lambda tx: log.append(tx, decided(0))),
        database.write(failing),
        database.write(lambda tx: log.append(tx, decided(3))),
        return_exceptions=True,
    )
    assert [event.facts["n"] for event in await log.search()] == [3, 0]
    assert [event.index for event in await log.search()] == [1, 0]
    await log.checkpoint()
    assert (await log.verify()).ok


async def test_an_event_reads_as_it_was_written(
    database: Database, log: AuditLog, clock: Clock
) -> None:
    event = Event(
        EventType.APPROVE,
        new_id("dec"),
        {"agent": AGENT, "n": 1},
        {"person": "usr_ann", "list": [1]},
    )
    index = await database.write(lambda tx: log.append(tx, event))
    found = await log.event(index)
    assert (found.type, found.trace, found.at) == ("approve", event.trace, clock.now())
    assert found.facts == event.facts
    assert found.private == event.private
    assert found.erased == ()
    assert found.to_json()["agent"] == AGENT


async def test_personal_data_is_not_in_the_public_log(database: Database, log: AuditLog) -> None:
    grow(database, log, 3)
    await log.checkpoint()
    bundle = await log.tile(Tile(None, 0, 3))
    assert b"usr_1" not in bundle
    entry = json.loads(decode_entries(bundle, 3)[1])
    assert entry["commitments"].keys() == {"person"}


async def test_erased_payloads_leave_the_proofs_standing(database: Database, log: AuditLog) -> None:
    grow(database, log, 4)
    erase = log_sealed.delete().where(log_sealed.c.idx == 1)
    await database.write(lambda tx: tx.changed(erase))
    found = await log.event(1)
    assert found.private == {}
    assert found.erased == ("person",)
    await log.checkpoint()
    report = await log.verify()
    assert report.ok
    assert (report.opened, report.erased) == (1, 1)


async def test_what_does_not_fit_into_a_leaf_does_not_happen(
    database: Database, log: AuditLog
) -> None:
    event = Event(EventType.DECIDE, "dec_x", {"data": "x" * 4096})
    with pytest.raises(Refused, match=r"the `decide` record of this has \d+ bytes; 4096 allowed"):
        await database.write(lambda tx: log.append(tx, event))
    assert (await log.head()).size == 0


async def test_private_values_may_be_large(database: Database, log: AuditLog) -> None:
    event = Event(EventType.DECIDE, "dec_x", {}, {"arguments": {"text": "x" * 200_000}})
    index = await database.write(lambda tx: log.append(tx, event))
    assert (await log.event(index)).private == event.private


async def test_a_checkpoint_signs_all_that_is_committed(database: Database, log: AuditLog) -> None:
    empty = await head_of(await log.checkpoint())
    assert (empty.size, empty.root) == (0, merkle.EMPTY_ROOT)
    grow(database, log, 5)
    head = await head_of(await log.checkpoint())
    assert (head.size, head.root) == (5, (await log.head()).root)


async def test_an_unchanged_log_is_not_signed_again(database: Database, log: AuditLog) -> None:
    grow(database, log, 2)
    assert await log.checkpoint() == await log.checkpoint() == await log.latest_checkpoint()


@pytest.mark.parametrize("size", [1, 255, 256, 257, 520])
async def test_checkpoints_of_a_growing_log_are_consistent(
    database: Database, log: AuditLog, size: int
) -> None:
    grow(database, log, size)
    old = await head_of(await log.checkpoint())
    grow(database, log, 300)
    new = await head_of(await log.checkpoint())
    proof = await log.consistency(old.size, new.size)
    merkle.verify_consistency(old.size, new.size, proof, old.root, new.root)
    with pytest.raises(Refused):
        await log.consistency(old.size, new.size + 1)


async def test_concurrent_checkpoints_agree(database: Database, log: AuditLog) -> None:
    async def work(n: int) -> Checkpoint:
        await database.write(lambda tx: log.append(tx, decided(n)))
        return await head_of(await log.checkpoint())

    heads = await asyncio.gather(*[work(n) for n in range(30)])
    by_size: dict[int, set[bytes]] = {}
    for head in heads:
        by_size.setdefault(head.size, set()).add(head.root)
    assert all(len(roots) == 1 for roots in by_size.values())


async def test_tiles_hold_the_checkpointed_tree_and_nothing_beyond(
    database: Database, log: AuditLog
) -> None:
    grow(database, log, 600)
    await log.checkpoint()
    grow(database, log, 10)
    entries = []
    for n, width in enumerate([256, 256, 88]):
        bundle = decode_entries(await log.tile(Tile(None, n, width)), width)
        entries += bundle
        hashes = b"".join(map(merkle.leaf_hash, bundle))
        assert await log.tile(Tile(0, n, width)) == hashes
    above = await log.tile(Tile(1, 0, 2))
    first = [merkle.leaf_hash(entry) for entry in entries]
    assert above == merkle.root(first[:256]) + merkle.root(first[256:512])
    for beyond in [Tile(0, 2, 89), Tile(0, 3, 1), Tile(None, 2), Tile(1, 0, 3), Tile(2, 0, 1)]:
        with pytest.raises(Refused) as refused:
            await log.tile(beyond)
        assert refused.value.kind is Kind.NOT_FOUND


async def test_before_the_first_checkpoint_there_are_no_tiles(
    database: Database, log: AuditLog
) -> None:
    grow(database, log, 1)
    assert await log.latest_checkpoint() is None
    with pytest.raises(Refused):
        await log.tile(Tile(0, 0, 1))


async def test_a_trace_reaches_from_the_mandate_to_the_outcome(
    database: Database, log: AuditLog
) -> None:
    mandate, grant, approval, call, other = map(new_id, ["mdt", "gr", "apr", "dec", "dec"])
    story = [
        Event(EventType.MANDATE, mandate, {"mandate": mandate}),
        Event(EventType.DELEGATE, grant, {"mandate": mandate, "grant": grant}),
        Event(EventType.DECIDE, other, {"mandate": mandate, "grant": grant}),
        Event(EventType.DECIDE, call, {"mandate": mandate, "grant": grant, "decision": "step-up"}),
        Event(EventType.APPROVAL_REQUEST, call, {"approval": approval}),
        Event(EventType.APPROVE, call, {"approval": approval}),
        Event(EventType.OUTCOME, call, {"ok": True}),
    ]
    for event in story:
        await database.write(lambda tx, event=event: log.append(tx, event))  # type: ignore[misc]
    whole = [0, 1, 3, 4, 5, 6]
    assert [event.index for event in await log.trace(call)] == whole
    assert [event.index for event in await log.trace(approval)] == whole
    assert [event.index for event in await log.trace(mandate)] == [0]
    assert await log.trace("dec_unknown") == []


async def test_search_pages_and_filters(database: Database, log: AuditLog) -> None:
    grow(database, log, 10)
    await database.write(lambda tx: log.append(tx, Event(EventType.POLICY, "pol", {"agent": "x"})))
    newest = await log.search(limit=3)
    assert [event.index for event in newest] == [10, 9, 8]
    assert [event.index for event in await log.search(limit=2, before=8)] == [7, 6]
    assert [event.index for event in await log.search(type="policy")] == [10]
    assert [event.index for event in await log.search(agent=AGENT, limit=1)] == [9]
    assert await log.search(type="policy", agent=AGENT) == []


async def test_the_log_opens_on_what_it_signed(database: Database, log: AuditLog) -> None:
    grow(database, log, 300)
    kept = await log.checkpoint()
    grow(database, log, 5)
    await log.start(kept)
    assert (await head_of(await log.checkpoint())).size == 305


TAMPERINGS = [
    ("UPDATE log_checkpoint SET size = 299", "not the one that was signed"),
    ("UPDATE log_checkpoint SET note = replace(note, '300', '301')", "signature"),
    ("UPDATE log_checkpoint SET root = zeroblob(32)", "not the one that was signed"),
    ("DELETE FROM log_leaf WHERE idx = 299", "0 to 298 are stored"),
    ("DELETE FROM log_leaf WHERE idx = 0", "1 to 299 are stored"),
    ("DELETE FROM log_leaf WHERE idx = 7", "of its newest 300 entries 299 are stored"),
    ("UPDATE log_leaf SET hash = zeroblob(32) WHERE idx = 280", "not the root of its entries"),
    ("UPDATE log_tile SET root = zeroblob(32)", "not the root of its entries"),
    ("UPDATE log_head SET frontier = zeroblob(128)", "not the root of its entries"),
]


@pytest.mark.sqlite
@pytest.mark.parametrize(("sql", "why"), TAMPERINGS)
async def test_the_log_refuses_to_open_on_anything_else(
    database: Database, log: AuditLog, sql: str, why: str
) -> None:
    grow(database, log, 300)
    await log.checkpoint()
    tamper(database, sql)
    with pytest.raises(Refused, match=why) as refused:
        await log.start()
    assert refused.value.kind is Kind.CONFLICT


REPLACE = (
    "UPDATE log_leaf SET leaf = CAST(replace(CAST(leaf AS TEXT), 'permit', 'denied') AS BLOB)"
    " WHERE idx = 7"
)


def tamper(database: Database, sql: str) -> None:
    database.write_sync(lambda tx: tx.changed(sa.text(sql)))


async def test_a_rolled_back_database_is_recognised_by_a_retained_checkpoint(
    database: Database, log: AuditLog
) -> None:
    grow(database, log, 20)
    await log.checkpoint()
    kept = SIGNER.sign(Checkpoint(ORIGIN, 25, b"x" * 32).text())
    with pytest.raises(Refused, match="it has 20 entries, its checkpoint 25"):
        await log.start(kept)


async def test_nothing_inconsistent_is_ever_signed(database: Database, log: AuditLog) -> None:
    """Whoever rewrites rows behind our back does not get our signature for it."""
    grow(database, log, 10)
    note = await log.checkpoint()
    frontier = merkle.Frontier()
    for n in range(10):
        frontier = frontier.append(merkle.leaf_hash(b"forged" if n == 3 else bytes([n])))
    forged = log_head.update().values(frontier=frontier.to_bytes())
    database.write_sync(lambda tx: tx.changed(forged))
    grow(database, log, 1)
    with pytest.raises(Refused, match="does not match what was signed"):
        await log.checkpoint()
    assert await log.latest_checkpoint() == note


async def test_a_key_of_another_log_is_refused(database: Database, clock: Clock) -> None:
    with pytest.raises(Refused, match="must be named"):
        AuditLog(database, NoteSigner.generate("other.example"), ORIGIN, clock.now)


async def test_a_head_that_is_no_tree_head_is_refused(
    database: Database, log: AuditLog, clock: Clock
) -> None:
    grow(database, log, 3)
    tamper(database, "UPDATE log_head SET size = 300")
    with pytest.raises(Refused, match="its head cannot be read"):
        await log.start()


async def test_a_log_that_lost_its_checkpoint_is_refused_where_one_was_kept(
    database: Database, log: AuditLog
) -> None:
    grow(database, log, 3)
    kept = await log.checkpoint()
    tamper(database, "DELETE FROM log_checkpoint")
    with pytest.raises(Refused, match="none is stored"):
        await log.start(kept)


async def test_a_database_signed_by_another_key_is_refused(
    database: Database, log: AuditLog, clock: Clock
) -> None:
    grow(database, log, 3)
    await log.checkpoint()
    stranger = AuditLog(database, NoteSigner.generate(ORIGIN), ORIGIN, clock.now)
    with pytest.raises(Refused, match="not signed by the trusted key"):
        await stranger.start()


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("sql", "why"),
    [
        (REPLACE, "signed root"),
        ("DELETE FROM log_leaf WHERE idx = 7", "entry 7 is missing"),
        ("UPDATE log_leaf SET leaf = x'7b7d' WHERE idx = 7", "entry 7 is not a log entry"),
        (
            "UPDATE log_sealed SET body = (SELECT body FROM log_sealed WHERE idx = 9)"
            " WHERE idx = 7",
            "entry 7: what was kept of it cannot be read",
        ),
        ("UPDATE log_sealed SET body = zeroblob(32) WHERE idx = 7", "entry 7: what was kept"),
        ("UPDATE data_key SET wrapped = NULL, erased_by = 3", "entry 3, which erases nothing"),
        ("UPDATE log_tile SET body = zeroblob(8192)", "tile 0 of level 0"),
        ("UPDATE log_head SET size = 299, frontier = zeroblob(160)", "tree head"),
        # Found by rig R14: what is derived from a leaf hides it, or breaks its proofs, as well.
        ("UPDATE log_leaf SET hash = zeroblob(32) WHERE idx = 7", "entry 7 was changed"),
        ("UPDATE log_leaf SET agent = 'nobody' WHERE idx = 7", "entry 7 is filed as something"),
        ("UPDATE log_leaf SET type = 'note' WHERE idx = 7", "entry 7 is filed as something"),
        ("INSERT INTO log_tile VALUES (0, 9, x'00', x'00')", "no such tile"),
        ("UPDATE log_tile SET root = zeroblob(32)", "does not have its root"),
        ("INSERT INTO log_ref VALUES ('mdt_x', 7)", "references are kept"),
        ("INSERT INTO log_payload VALUES (999, x'00', '{}')", "no such entry"),
        ("INSERT INTO log_sealed VALUES (999, x'00')", "no such entry"),
        ("UPDATE log_checkpoint SET size = 299", "not the one that was signed"),
    ],
)
async def test_verify_names_what_was_changed(
    database: Database, log: AuditLog, sql: str, why: str
) -> None:
    grow(database, log, 300)
    await log.checkpoint()
    assert (await log.verify()).ok
    tamper(database, sql)
    report = await log.verify()
    assert any(why in problem for problem in report.problems), report.problems


async def test_the_background_loop_checkpoints_and_stops_with_a_last_one(
    database: Database, log: AuditLog
) -> None:
    running = asyncio.ensure_future(log.run())
    grow(database, log, 300)
    async with asyncio.timeout(5):
        while await log.latest_checkpoint() is None:
            await asyncio.sleep(0.05)
    grow(database, log, 1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (await head_of(await log.latest_checkpoint() or "")).size == 301


def test_ids_among_the_facts_are_references() -> None:
    mandate = new_id("mdt")
    facts: dict[str, JsonValue] = {
        "mandate": mandate,
        "agent": AGENT,
        "n": 1,
        "tool": "mdt_short",
        "in": [new_id("gr")],
    }
    assert list(references(facts)) == [mandate]


@given(st.binary(min_size=32, max_size=32), st.text(max_size=9), st.integers(), st.integers())
def test_a_commitment_opens_to_one_value_only(salt: bytes, name: str, one: int, two: int) -> None:
    if abs(one) >= 2**53 or abs(two) >= 2**53:
        return
    commitments, body = seal({name: one, "other": 1}, salt)
    assert json.loads(body) == {name: one, "other": 1}
    opened = Opening(member_salt(salt, name), two).commitment() == commitments[name]
    assert opened == (one == two or name == "other")


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=90)


@given(st.binary(min_size=32, max_size=32), TEXTS, TEXTS)
def test_salts_and_commitments_are_hmacs_that_anybody_can_make(
    salt: bytes, name: str, value: str
) -> None:
    own = hmac.digest(salt, name.encode(), "sha256")
    assert member_salt(salt, name) == own
    made = urlsafe_b64encode(hmac.digest(own, canonical(value), "sha256")).rstrip(b"=").decode()
    assert seal({name: value}, salt)[0] == {name: made}


def test_one_opening_does_not_give_away_the_salts_of_the_others() -> None:
    salt = bytes(32)
    assert len({salt, member_salt(salt, "a"), member_salt(salt, "b")}) == 3


@pytest.mark.parametrize(
    "leaf",
    [
        b"{}",
        b"[]",
        b'{"v":2}',
        LogEntry(0, "evt", "decide", 0, "t", {}, {}).encode() + b" ",
        LogEntry(0, "evt", "decide", 0, "t", {}, {}).encode().replace(b'"seq":0', b'"seq":"0"'),
        LogEntry(0, "evt", "decide", 0, "t", {}, {}).encode().replace(b'"seq":0', b'"seq":true'),
        LogEntry(0, "evt", "decide", 0, "t", {}, {}).encode().replace(b'"facts":{}', b'"facts":[]'),
        LogEntry(0, "evt", "decide", 0, "t", {}, {"a": "b"}).encode().replace(b'"b"', b"1"),
    ],
)
def test_other_json_is_not_a_log_entry(leaf: bytes) -> None:
    with pytest.raises(Refused) as refused:
        LogEntry.decode(leaf)
    assert refused.value.kind is Kind.MALFORMED


async def test_who_does_not_know_yet_that_a_log_was_renounced_signs_nothing_more(
    database: Database, log: AuditLog, clock: Clock
) -> None:
    """Another node, on the same database, while a person recovers it."""
    grow(database, log, 5)
    kept = await log.checkpoint()
    other = NoteSigner.generate("log.example/main/2")
    await database.write(lambda tx: log.renounce(tx, other, "rolled back", kept))
    with pytest.raises(Refused, match="another log was signed"):
        await log.checkpoint()
    grow(database, log, 1)
    with pytest.raises(Refused, match="another log was signed"):
        await log.checkpoint()
    retained: list[str] = []
    new = AuditLog(database, other, other.verifier.name, clock.now, retain=retained.append)
    await new.start()
    assert retained[-1].startswith("log.example/main/2\n7\n")
    assert (await new.verify()).ok
