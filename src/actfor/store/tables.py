"""The store's own tables: nodes beside the database, and what they tell each other."""

from __future__ import annotations

from sqlalchemy import Column, Integer, Table, Text

from actfor.store.schema import metadata

__all__ = ["change", "metadata", "node"]

node = Table(
    "store_node",
    metadata,
    Column("id", Text, primary_key=True),
    Column("epoch", Integer, nullable=False),  # raised by whoever fences the node
    Column("name", Text, nullable=False),
    Column("started_at", Integer, nullable=False),
    Column("seen_at", Integer, nullable=False),
)
change = Table(
    "store_change",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("topic", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("at", Integer, nullable=False),
)
