"""A clock that is set forward and back must not make anybody forget what was taken once."""

from datetime import UTC, datetime, timedelta

from tests.conftest import Clock
from tests.fakes.delegation_world import World, build

from actfor.delegation.service.steady import SETTLED, STEP, Steady
from actfor.errors import Kind, Refused
from actfor.store import Database

NOW = datetime(2026, 11, 26, 2, 0, tzinfo=UTC)
HOUR = SETTLED.total_seconds()


def test_a_clock_is_believed_after_it_went_along_for_an_hour() -> None:
    steady = Steady(NOW, 100)
    assert not steady.look(NOW, 100)
    assert not steady.look(NOW + SETTLED / 2, 100 + HOUR / 2)
    assert steady.look(NOW + SETTLED, 100 + HOUR)


def test_drift_is_no_step() -> None:
    steady = Steady(NOW, 0)
    for minute in range(1, 62):
        believed = steady.look(NOW + minute * (timedelta(minutes=1) + STEP / 2), minute * 60)
    assert believed


def test_a_step_in_either_direction_begins_anew() -> None:
    for step in (timedelta(seconds=6), -timedelta(seconds=6), timedelta(days=3650)):
        steady = Steady(NOW, 0)
        assert steady.look(NOW + SETTLED, HOUR)
        assert not steady.look(NOW + SETTLED + step, HOUR)
        assert not steady.look(NOW + SETTLED + step + SETTLED / 2, 1.5 * HOUR)
        assert steady.look(NOW + 2 * SETTLED + step, 2 * HOUR)


async def test_a_proof_is_not_taken_again_after_the_clock_went_forward_and_back(
    database: Database, clock: Clock, tmp_path
) -> None:
    """Found by rig R9: a sweep in between had forgotten that it was spent."""
    world: World = await build(database, clock, tmp_path)
    holder, _, subject = await world.ready()
    token = (await world.exchange(holder, subject)).access_token
    proved = await world.authenticate(holder, token)
    await database.write(lambda tx: world.delegation.spend(tx, proved.proof))
    await world.delegation.tidy(0)
    clock.advance(3600)
    assert await world.delegation.tidy(1) == 0
    clock.advance(-3600)
    try:
        await database.write(lambda tx: world.delegation.spend(tx, proved.proof))
    except Refused as refused:
        assert refused.kind is Kind.REPLAYED
    else:
        raise AssertionError("the proof was taken twice")
