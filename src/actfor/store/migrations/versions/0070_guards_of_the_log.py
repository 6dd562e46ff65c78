"""guards of the log: on PostgreSQL, triggers that no leaf is changed, or deleted before it is pruned."""

from __future__ import annotations

from alembic import op

from actfor.store.roles import GUARDS

revision = "0070"
down_revision = "0060"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_context().dialect.name != "postgresql":
        return
    for statement in GUARDS.split(";\nCREATE "):
        text = statement.strip().rstrip(";")
        op.execute(text if text.startswith("CREATE") else f"CREATE {text}")
