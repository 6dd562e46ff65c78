"""What one database would do and the other would not: told apart here, or made the same."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.conftest import Clock
from tests.fakes import postgres
from tests.fakes.store_tables import ADD, ALL, ONCE, RAISE, RENAME, open_with_sample, sample

from actfor.errors import Kind, Refused
from actfor.store import Ask, Database, Tx, batched, one_of

LIMIT = 2**63 - 1
FIND = sa.select(sample.c.n).where(sample.c.id == sa.bindparam("which"))
FIND_OF = sa.select(sample.c.id, sample.c.n).where(one_of(sample.c.id))
RENAME_TOO = (
    sa.update(sample).where(sample.c.id == sa.bindparam("which")).values(n=sa.bindparam("to"))
)
BETWEEN = (
    sa.select(sample.c.id)
    .where(sample.c.id >= sa.bindparam("low"), sample.c.id < sa.bindparam("high"))
    .order_by(sample.c.id)
)
TOTAL = sa.select(sa.func.count(), sa.func.max(sample.c.n), sa.func.min(sample.c.id))
DROP = sa.delete(sample).where(sample.c.id == sa.bindparam("which"))
CLEAR = sa.delete(sample)


@pytest.fixture
def store(database_url: str, clock: Clock) -> Iterator[Database]:
    opened = open_with_sample(database_url, clock)
    yield opened
    opened.close_sync()


def add(name: str, n: int = 1) -> Callable[[Tx], int]:
    return lambda tx: tx.changed(ADD, id=name, n=n)


def ids(store: Database) -> list[str]:
    return [name for name, _ in store.read_sync(lambda tx: tx.run(ALL))]


# -- values ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", " ", "a ", "é", "e\u0301", "\U0001f510", "'; --", "%s $1 :a"])
def test_a_text_comes_back_as_it_was_given(store: Database, text: str) -> None:
    store.write_sync(add(text))
    assert ids(store) == [text]
    assert store.read_sync(lambda tx: tx.one(FIND, which=text)) == (1,)


@pytest.mark.parametrize("text", ["a\0b", "\0", "\ud800", "ok \udfff"])
async def test_a_text_that_one_database_could_not_keep_is_refused_on_both(
    store: Database, text: str
) -> None:
    """On PostgreSQL it would also have broken the transaction of everybody beside it."""
    answers = await asyncio.gather(
        store.write(add("a")),
        store.write(add(text)),
        store.write(lambda tx: tx.one(FIND, which=text)),
        store.write(add("b")),
        return_exceptions=True,
    )
    kinds = [answer.kind if isinstance(answer, Refused) else answer for answer in answers]
    assert kinds == [1, Kind.MALFORMED, Kind.MALFORMED, 1]
    assert ids(store) == ["a", "b"]
    with pytest.raises(Refused):
        await store.read(lambda tx: tx.one(FIND, which=text))


@pytest.mark.parametrize("n", [0, -1, 2**31, 2**53 + 1, LIMIT, -LIMIT - 1])
def test_an_integer_comes_back_as_it_was_given(store: Database, n: int) -> None:
    store.write_sync(add("a", n))
    assert store.read_sync(lambda tx: tx.run(ALL)) == [("a", n)]


@pytest.mark.parametrize("n", [LIMIT + 1, -LIMIT - 2, 2**200])
def test_an_integer_of_more_than_64_bits_is_refused(store: Database, n: int) -> None:
    with pytest.raises(Refused, match="too large"):
        store.write_sync(add("a", n))
    assert ids(store) == []


def test_counts_are_integers(store: Database) -> None:
    for n in range(3):
        store.write_sync(add(f"{n}", n))
    row = store.read_sync(lambda tx: tx.one(TOTAL))
    assert row == (3, 2, "0")
    assert [type(value) for value in row] == [int, int, str]


# -- order and comparison ------------------------------------------------------------------------------

UNORDERED = ["b", "B", "a", "A", "_", "é", "z", "Z", "10", "9", "a b", "ab", "a-b", "ı", "i", "ß"]


def test_texts_are_ordered_and_compared_by_their_bytes(store: Database) -> None:
    for text in UNORDERED:
        store.write_sync(add(text))
    assert ids(store) == sorted(UNORDERED, key=str.encode)
    found = store.read_sync(lambda tx: tx.run(BETWEEN, low="A", high="a"))
    assert [text for (text,) in found] == sorted(
        (text for text in UNORDERED if b"A" <= text.encode() < b"a"), key=str.encode
    )


def test_a_locale_of_the_database_changes_no_order(clock: Clock) -> None:
    cluster = postgres.shared()
    try:
        cluster.run(
            "CREATE DATABASE english TEMPLATE template0 ENCODING UTF8"
            " LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LOCALE 'C.UTF-8'"
        )
    except Exception as cause:
        pytest.skip(f"this PostgreSQL knows no such locale: {cause}")
    try:
        assert cluster.run("SELECT 'a' < 'B'", database="english") == [(True,)]
        store = open_with_sample(cluster.url("english"), clock)
        for text in UNORDERED:
            store.write_sync(add(text))
        assert ids(store) == sorted(UNORDERED, key=str.encode)
        store.close_sync()
    finally:
        cluster.drop("english")


def test_case_and_trailing_space_make_another_key(store: Database) -> None:
    for text in ("key", "Key", "key ", " key"):
        assert store.write_sync(lambda tx, text=text: tx.changed(ONCE, id=text, n=1)) == 1
    assert store.write_sync(lambda tx: tx.changed(ONCE, id="key", n=2)) == 0


# -- rows for later ------------------------------------------------------------------------------------


def test_a_row_for_later_is_there_for_whoever_looks(store: Database) -> None:
    def unit(tx: Tx) -> list[object]:
        before = tx.run(ALL)
        tx.later(ADD, id="a", n=1)
        return [before, tx.run(ALL)]

    assert store.write_sync(unit) == [[], [("a", 1)]]
    assert ids(store) == ["a"]


async def test_rows_for_later_share_the_fate_of_their_unit(store: Database) -> None:
    def bad(tx: Tx) -> None:
        tx.later(ADD, id="never", n=1)
        tx.run(ALL)  # now it is in the database, and its neighbours' rows with it
        tx.later(ADD, id="neither", n=1)
        raise Refused(Kind.DENIED, "no")

    def later(name: str) -> Callable[[Tx], None]:
        return lambda tx: tx.later(ADD, id=name, n=1)

    gate = threading.Event()
    store.post(lambda tx: gate.wait(5))
    waiting = [store.write(unit) for unit in (later("a"), bad, later("b"), bad, later("c"))]
    tasks = [asyncio.ensure_future(one) for one in waiting]
    await asyncio.sleep(0.01)
    gate.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(answer, Refused) for answer in answers] == [0, 1, 0, 1, 0]
    assert ids(store) == ["a", "b", "c"]


# -- the same program means the same on both ---------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "c", "d"])
OPS = st.tuples(
    st.sampled_from(["add", "once", "later", "put", "raise", "drop", "find", "all", "refuse"]),
    NAMES,
)
PROGRAMS = st.lists(st.lists(OPS, min_size=1, max_size=5), min_size=1, max_size=8)


def asked(name: str) -> Ask:
    return Ask(FIND, {"which": name}, FIND_OF)


def put(tx: Tx, name: str) -> object:
    """Change a row that many change: read once, written once."""
    before = tx.one(FIND, which=name)
    if before is None:
        tx.replace(asked(name), (5,), ADD, id=name, n=5)
    else:
        n = before[0] + 10
        tx.replace(asked(name), (n,), RENAME if n % 3 else RENAME_TOO, which=name, to=n)
    return before


def unit_of(ops: list[tuple[str, str]], seen: list[object]) -> Callable[[Tx], None]:
    def unit(tx: Tx) -> None:
        for op, name in ops:
            match op:
                case "add":
                    seen.append(tx.changed(ADD, id=name, n=1))
                case "once":
                    seen.append(tx.changed(ONCE, id=name, n=2))
                case "later":
                    if tx.one(FIND, which=name) is None:  # it must not break a constraint
                        tx.later(ADD, id=name, n=3)
                case "put":
                    seen.append(put(tx, name))
                case "raise":
                    seen.append(tx.changed(RAISE, which=name, by=1))
                case "drop":
                    seen.append(tx.changed(DROP, which=name))
                case "find":
                    seen.append(tx.one(FIND, which=name))
                case "all":
                    seen.append(tx.run(ALL))
                case "refuse":
                    raise Refused(Kind.DENIED, name)

    return unit


def run(store: Database, program: list[list[tuple[str, str]]]) -> list[object]:
    """What every unit saw and how it ended, all of them in one transaction; and what is left."""
    store.write_sync(lambda tx: tx.changed(CLEAR))
    seen: list[list[object]] = [[] for _ in program]
    ended: list[str] = [""] * len(program)

    async def batch() -> None:
        gate = threading.Event()
        store.post(lambda tx: gate.wait(5))
        tasks = [
            asyncio.ensure_future(
                store.write(unit_of(ops, seen[k]), [asked(name) for _, name in ops[:2]])
            )
            for k, ops in enumerate(program)
        ]
        await asyncio.sleep(0)
        gate.set()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        ended[:] = [type(answer).__name__ for answer in answers]

    asyncio.run(batch())
    return [seen, ended, store.read_sync(lambda tx: tx.run(ALL))]


def model(program: list[list[tuple[str, str]]]) -> list[object]:
    """What ``run`` gives, if units simply follow one another."""
    table: dict[str, int] = {}
    seen: list[list[object]] = [[] for _ in program]
    ended: list[str] = []
    for ops, found in zip(program, seen, strict=True):
        before = dict(table)
        try:
            for op, name in ops:
                step(table, found, op, name)
        except LookupError as failure:
            table = before
            ended.append(str(failure.args[0]))
        else:
            ended.append("NoneType")
    return [seen, ended, sorted(table.items())]


def step(table: dict[str, int], found: list[object], op: str, name: str) -> None:
    row = (table[name],) if name in table else None
    match op:
        case "add" if row is not None:
            raise LookupError("ConstraintViolation")
        case "add":
            found.append(1)
            table[name] = 1
        case "once":
            found.append(0 if row else 1)
            table.setdefault(name, 2)
        case "later":
            table.setdefault(name, 3)
        case "put":
            found.append(row)
            table[name] = 5 if row is None else row[0] + 10
        case "raise":
            found.append(1 if row else 0)
            if row:
                table[name] += 1
        case "drop":
            found.append(1 if row else 0)
            table.pop(name, None)
        case "find":
            found.append(row)
        case "all":
            found.append(sorted(table.items()))
        case "refuse":
            raise LookupError("Refused")


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Database, Database]]:
    from datetime import UTC, datetime

    now = Clock(datetime.now(UTC))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batched, "_JOURNAL", 5)  # so that short programs come to savepoints
        patch.setattr(batched, "_CAREFUL", 3)
        yield from _both(tmp_path_factory, now)


def _both(
    tmp_path_factory: pytest.TempPathFactory, now: Clock
) -> Iterator[tuple[Database, Database]]:
    folder: Path = tmp_path_factory.mktemp("both")
    with postgres.shared().database(postgres.migrated()) as url:
        stores = [open_with_sample(one, now) for one in (f"sqlite:///{folder}/t.db", url)]
        yield stores[0], stores[1]
        for store in stores:
            store.close_sync()


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(program=PROGRAMS)
@example(program=[[("put", "a")], [("put", "a"), ("refuse", "")], [("find", "a"), ("put", "a")]])
@example(program=[[("add", "a")], *[[("put", "a")]] * 3])
@example(program=[[("put", "a"), ("all", "")], [("put", "a")], *[[("put", "b")]] * 2])
@example(program=[[("add", "a"), ("find", "a"), ("refuse", "")], [("find", "a")]])
@example(program=[[("later", "a")], [("add", "b"), ("all", ""), ("refuse", "")], [("all", "")]])
def test_a_batch_means_what_units_one_after_the_other_mean(
    both: tuple[Database, Database], program: list[list[tuple[str, str]]]
) -> None:
    """Remembered answers, late savepoints and queued rows must not be seen from inside."""
    meant = model(program)
    for store in both:
        assert run(store, program) == meant
