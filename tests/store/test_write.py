"""What a unit may rely on: durable or absent, alone in its failure, in order, once."""

import asyncio
import threading
import time
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from tests.conftest import Clock
from tests.fakes.store_tables import ADD, ALL, ONCE, RENAME, Sample, open_with_sample, sample

from actfor.errors import Kind, Refused
from actfor.store import ConstraintViolation, Database, Tx


@pytest.fixture
def store(database_url: str, clock: Clock):
    opened = open_with_sample(database_url, clock)
    yield opened
    opened.close_sync()


def rows(store: Database) -> list[tuple[str, int]]:
    return store.read_sync(lambda tx: tx.run(ALL))


def add(name: str, n: int = 1) -> Callable[[Tx], int]:
    return lambda tx: tx.changed(ADD, id=name, n=n)


def claim(n: int) -> Callable[[Tx], bool]:
    return lambda tx: tx.changed(ONCE, id="prize", n=n) == 1


async def test_a_unit_returns_its_value_after_its_effects_can_be_read(store: Database) -> None:
    assert await store.write(lambda tx: tx.changed(ADD, id="a", n=1)) == 1
    assert await store.read(lambda tx: tx.run(ALL)) == [("a", 1)]


async def test_a_failing_unit_rolls_back_alone(store: Database) -> None:
    def bad(tx: Tx) -> None:
        tx.changed(ADD, id="half", n=1)
        raise Refused(Kind.DENIED, "no")

    answers = await asyncio.gather(
        store.write(add("a")), store.write(bad), store.write(add("b")), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [int, Refused, int]
    assert rows(store) == [("a", 1), ("b", 1)]


async def test_many_waiting_units_share_few_commits(store: Database) -> None:
    gate = threading.Event()
    first = asyncio.ensure_future(store.write(lambda tx: gate.wait(5)))
    await asyncio.sleep(0.01)
    rest = [asyncio.ensure_future(store.write(add(f"{n}", n))) for n in range(300)]
    await asyncio.sleep(0.01)
    gate.set()
    await asyncio.gather(first, *rest)
    assert store.units == 301
    assert store.commits <= 30  # three, where the machine has nothing else to do
    assert len(rows(store)) == 300


async def test_nothing_is_visible_before_the_commit(store: Database) -> None:
    inside, go = threading.Event(), threading.Event()

    def slow(tx: Tx) -> None:
        tx.changed(ADD, id="a", n=1)
        inside.set()
        go.wait(5)

    writing = asyncio.ensure_future(store.write(slow))
    await asyncio.to_thread(inside.wait, 5)
    assert rows(store) == []
    assert not writing.done()
    go.set()
    await writing
    assert rows(store) == [("a", 1)]


async def test_units_of_one_batch_see_each_other_in_order(store: Database) -> None:
    await store.write(lambda tx: tx.changed(ADD, id="a", n=0))

    def add_one(tx: Tx) -> int:
        ((_, n),) = tx.run(ALL)
        tx.changed(RENAME, which="a", to=n + 1)
        return int(n)

    seen = await asyncio.gather(*[store.write(add_one) for _ in range(100)])
    assert seen == list(range(100))


async def test_a_once_only_row_has_exactly_one_winner(store: Database) -> None:
    won = await asyncio.gather(*[store.write(claim(n)) for n in range(50)])
    assert sum(won) == 1
    assert len(rows(store)) == 1


async def test_a_broken_constraint_is_told_in_the_stores_own_words(store: Database) -> None:
    await store.write(lambda tx: tx.changed(ADD, id="a", n=1))
    with pytest.raises(ConstraintViolation):
        await store.write(lambda tx: tx.changed(ADD, id="a", n=2))
    assert rows(store) == [("a", 1)]


async def test_callbacks_run_on_the_waiting_loop_after_the_commit_and_only_then(
    store: Database,
) -> None:
    heard: list[tuple[str, object]] = []

    def unit(tx: Tx) -> None:
        tx.changed(ADD, id="a", n=1)
        tx.on_commit(lambda: heard.append((threading.current_thread().name, rows(store))))

    def failing(tx: Tx) -> None:
        tx.on_commit(lambda: heard.append(("never", None)))
        raise Refused(Kind.DENIED, "no")

    await store.write(unit)
    with pytest.raises(Refused):
        await store.write(failing)
    assert heard == [(threading.current_thread().name, [("a", 1)])]


async def test_a_callback_that_fails_does_not_unmake_the_record(store: Database, caplog) -> None:
    def unit(tx: Tx) -> None:
        tx.changed(ADD, id="a", n=1)
        tx.on_commit(lambda: 1 / 0)

    await store.write(unit)
    assert rows(store) == [("a", 1)]
    assert "callback failed" in caplog.text


async def test_posted_units_are_kept_by_close(database_url: str, clock: Clock) -> None:
    first = open_with_sample(database_url, clock)
    for n in range(20):
        first.post(add(f"{n:02}", n))
    await first.close()
    again = open_with_sample(database_url, clock)
    assert len(rows(again)) == 20
    again.close_sync()
    with pytest.raises(Refused) as refused:
        first.post(lambda tx: None)
    assert refused.value.kind is Kind.BUSY


async def test_a_posted_unit_shares_the_commit_of_the_next(store: Database) -> None:
    before = store.commits
    store.post(add("posted", 1))
    await store.write(add("written", 2))
    assert store.commits == before + 1
    assert rows(store) == [("posted", 1), ("written", 2)]


async def test_a_posted_unit_is_committed_though_nobody_comes(store: Database) -> None:
    before = store.commits
    store.post(add("a", 1))
    async with asyncio.timeout(5):
        while store.commits == before:
            await asyncio.sleep(0.001)
    assert rows(store) == [("a", 1)]


def test_a_posted_unit_outlives_the_loop_that_posted_it(store: Database) -> None:
    async def post(name: str) -> None:
        store.post(add(name, 1))

    asyncio.run(post("a"))
    asyncio.run(post("b"))  # no timer of a loop that ended is waited for
    store.write_sync(lambda tx: None)
    assert rows(store) == [("a", 1), ("b", 1)]


async def test_a_posted_unit_that_fails_is_logged(store: Database, caplog) -> None:
    store.post(lambda tx: 1 / 0)
    await store.write(lambda tx: None)
    assert "a posted unit failed" in caplog.text


def test_a_unit_cannot_wait_for_another_unit(store: Database) -> None:
    with pytest.raises(RuntimeError, match="cannot wait"):
        store.write_sync(lambda tx: store.write_sync(lambda inner: None))


async def test_a_coroutine_is_not_a_unit(store: Database) -> None:
    async def unit(tx: Tx) -> None:
        tx.changed(ADD, id="a", n=1)

    with pytest.raises(TypeError, match="plain function"):
        await store.write(unit)  # type: ignore[unused-coroutine] # the mistake under test
    assert rows(store) == []


def test_a_kept_transaction_refuses_to_work(store: Database) -> None:
    kept: list[Tx] = []
    store.write_sync(kept.append)
    with pytest.raises(RuntimeError, match="after its unit"):
        kept[0].run(ALL)


def test_a_reader_cannot_write(store: Database) -> None:
    with pytest.raises(Refused):
        store.read_sync(lambda tx: tx.changed(ADD, id="a", n=1))
    assert rows(store) == []


def test_a_read_is_one_snapshot(store: Database) -> None:
    def unit(tx: Tx) -> tuple[int, int]:
        before = len(tx.run(ALL))
        writer = threading.Thread(
            target=lambda: store.write_sync(lambda w: w.changed(ADD, id="a", n=1))
        )
        writer.start()
        writer.join()
        return before, len(tx.run(ALL))

    assert store.read_sync(unit) == (0, 0)
    assert len(rows(store)) == 1


def test_a_unit_knows_the_time_of_the_injected_clock(store: Database, clock: Clock) -> None:
    first = store.write_sync(lambda tx: tx.now)
    clock.advance(2.5)
    assert store.write_sync(lambda tx: (tx.now - first).total_seconds()) == 2.5


@pytest.mark.parametrize(
    "params", [{"id": "a"}, {"id": "a", "n": 1, "extra": 2}, {"id": "a", "n": 1.5}]
)
def test_wrong_parameters_are_a_programmers_error(
    store: Database, params: dict[str, object]
) -> None:
    with pytest.raises(TypeError):
        store.write_sync(lambda tx: tx.changed(ADD, **params))  # type: ignore[arg-type] # the mistake under test
    assert rows(store) == []


def test_columns_that_need_conversion_are_refused() -> None:
    table = sa.Table("converted", sa.MetaData(), sa.Column("flag", sa.DateTime))
    from actfor.store import postgres_dialect, sqlite

    for compiled in sqlite.compiled, postgres_dialect.compiled:
        with pytest.raises(TypeError, match="conversion"):
            compiled(sa.insert(table).values(flag=sa.bindparam("flag")))


def test_fixed_values_in_a_statement_are_bound(store: Database) -> None:
    some = sa.select(sample.c.id).where(sample.c.n.in_([1, 2])).order_by(sample.c.id)
    for n in range(4):
        store.write_sync(add(f"{n}", n))
    assert store.read_sync(lambda tx: tx.run(some)) == [("1",), ("2",)]


def test_participants_follow_the_fate_of_each_unit(store: Database) -> None:
    gate = threading.Event()
    store.post(lambda tx: gate.wait(5))
    for value in ["a", "", "b"]:  # the empty one fails
        store.post(Sample.unit(value))
    gate.set()
    store.write_sync(lambda tx: None)
    assert rows(store) == [("a,b", 2)]


async def test_slow_units_do_not_all_share_one_transaction(store: Database) -> None:
    """One that is slow delays its neighbours; it must not make their transaction too long."""

    def slow(n: int) -> Callable[[Tx], int]:
        def unit(tx: Tx) -> int:
            time.sleep(0.1)
            return tx.changed(ADD, id=f"{n}", n=n)

        return unit

    before = store.commits
    assert await asyncio.gather(*(store.write(slow(n)) for n in range(8))) == [1] * 8
    assert store.commits - before >= 3
    assert len(rows(store)) == 8


async def test_what_was_left_for_the_next_transaction_is_kept_by_close(
    database_url: str, clock: Clock
) -> None:
    first = open_with_sample(database_url, clock)

    def slow(tx: Tx) -> None:
        time.sleep(0.1)
        tx.changed(ADD, id=f"{len(tx.run(ALL))}", n=1)

    for _ in range(6):
        first.post(slow)
    await first.close()
    again = open_with_sample(database_url, clock)
    assert len(rows(again)) == 6
    again.close_sync()
