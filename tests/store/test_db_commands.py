"""`actfor db …` as whoever runs the database uses it."""

import json
from collections.abc import Iterator

import pytest
from tests.conftest import Clock
from tests.fakes import postgres
from typer.testing import CliRunner

from actfor.cli.app import app
from actfor.errors import Kind, Refused
from actfor.store import Database


@pytest.fixture
def url() -> Iterator[str]:
    with postgres.shared().database() as url:
        yield url


def run(*arguments: str, **environment: str) -> str:
    done = CliRunner().invoke(app, ["db", *arguments], env=environment, catch_exceptions=False)
    if isinstance(done.exception, Refused):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def test_a_node_is_listed_and_fenced_by_its_id(url: str, clock: Clock) -> None:
    run("migrate", ACTFOR_DATABASE=url)
    run("migrate", "--db", url)
    node = Database.open(url, clock=clock.now)
    (listed,) = json.loads(run("nodes", "--db", url, "--json"))
    assert listed["fenced"] is False
    assert node.write_sync(lambda tx: 1) == 1
    run("fence", listed["id"], "--db", url)
    with pytest.raises(Refused) as refused:
        node.write_sync(lambda tx: 1)
    assert refused.value.kind is Kind.BUSY
    assert json.loads(run("nodes", "--db", url, "--json"))[0]["fenced"] is True
    node.close_sync()


@pytest.mark.parametrize("given", [("nodes",), ("fence", "nod_unknown")])
def test_what_is_not_there_is_refused(url: str, given: tuple[str, ...]) -> None:
    with pytest.raises(Refused, match="one process and no nodes"):
        run(*given, "--db", "sqlite:///x.db")


def test_a_node_that_is_not_known_cannot_be_fenced(url: str) -> None:
    run("migrate", "--db", url)
    with pytest.raises(Refused, match="no such node"):
        run("fence", "nod_unknown", "--db", url)


def test_grants_are_printed_for_a_plain_name_only() -> None:
    assert "REVOKE UPDATE ON log_leaf" in run("grants", "actfor_node")
    with pytest.raises(Refused, match="lowercase"):
        run("grants", "x; DROP TABLE log_leaf")
