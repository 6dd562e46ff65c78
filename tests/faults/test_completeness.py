"""The rigs leave nothing out: their lists are held against the product's own."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Delete, Insert, Update
from tests.faults.authority import TAKEN, WAYS
from tests.faults.one_time import COLUMNS, GONE, NEW, TAKE

import actfor
from actfor.audit import Revocable
from actfor.store.schema import repositories


def changed() -> Iterator[str]:
    """`table.column` of all that a statement of the product sets, `+` for rows made, `-` for gone."""
    for name in repositories(Path(actfor.__file__).parent):
        for value in vars(importlib.import_module(name)).values():
            for statement in value if isinstance(value, tuple) else (value,):
                yield from marks(statement)


def marks(statement: Any) -> list[str]:
    if not isinstance(statement, Update | Insert | Delete):
        return []
    table = getattr(statement.table, "name", "?")
    if isinstance(statement, Update):
        return [f"{table}.{getattr(c, 'name', c)}" for c in statement._values or {}]
    return [f"{table}.{NEW if isinstance(statement, Insert) else GONE}"]


def test_everything_that_may_be_taken_once_is_raced_for() -> None:
    found = set(changed())

    assert sorted(found - set(COLUMNS)) == [], (
        "say in one_time.COLUMNS who races for it, or why not"
    )
    assert sorted(set(COLUMNS) - found) == [], "the product does not change this any more"


def test_every_race_is_for_a_column_and_every_reason_says_something() -> None:
    raced = {kind for answer in COLUMNS.values() if not isinstance(answer, str) for kind in answer}

    assert raced == set(TAKE)
    assert all(answer for answer in COLUMNS.values())


def test_whatever_authority_can_be_taken_from_is_taken_under_load() -> None:
    ways = [way for answer in TAKEN.values() if not isinstance(answer, str) for way in answer]

    assert set(TAKEN) == set(Revocable), "say in authority.TAKEN how R7 takes it, or why not"
    assert sorted(ways) == sorted(WAYS)
