"""A table of the store's own tests, and a participant that writes one row per transaction."""

from collections.abc import Callable

import sqlalchemy as sa
from tests.conftest import Clock

from actfor.store import Database, Tx, insert_ignore, metadata
from actfor.store.database import make_tables
from actfor.store.places import parse

sample = sa.Table(
    "test_sample",
    sa.MetaData(naming_convention=metadata.naming_convention),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("n", sa.Integer, nullable=False),
)
ADD = sa.insert(sample).values(id=sa.bindparam("id"), n=sa.bindparam("n"))
ONCE = insert_ignore(sample).values(id=sa.bindparam("id"), n=sa.bindparam("n"))
ALL = sa.select(sample.c.id, sample.c.n).order_by(sample.c.id)
RAISE = (
    sa.update(sample)
    .where(sample.c.id == sa.bindparam("which"))
    .values(n=sample.c.n + sa.bindparam("by", type_=sa.Integer))
)
RENAME = sa.update(sample).where(sample.c.id == sa.bindparam("which")).values(n=sa.bindparam("to"))


def open_with_sample(url: str, clock: Clock) -> Database:
    """A database that has this table, too."""
    make_tables(parse(url), sample.metadata)
    return Database.open(url, clock=clock.now, create_all=True)


class Sample:
    def __init__(self) -> None:
        self.values: tuple[str, ...] = ()

    def mark(self) -> object:
        return self.values

    def rewind(self, mark: object) -> None:
        assert isinstance(mark, tuple)
        self.values = mark

    def flush(self, tx: Tx) -> None:
        tx.changed(ADD, id=",".join(self.values), n=len(self.values))

    @classmethod
    def unit(cls, value: str) -> Callable[[Tx], None]:
        def unit(tx: Tx) -> None:
            shared = tx.participant(cls, cls)
            shared.values = (*shared.values, value)
            if not value:
                raise ValueError("no value")

        return unit
