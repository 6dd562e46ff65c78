"""Alembic's entry point. The connection and its transaction belong to the caller."""

from __future__ import annotations

from alembic import context

from actfor.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters a table by making it again
    compare_type=True,
)
context.run_migrations()
