"""which denials were asked about, and what became of wishes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0080"
down_revision = "0078"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """See the module."""
    op.create_table(
        "access_request",
        sa.Column("denial", sa.Text(), nullable=False),
        sa.Column("pep", sa.Text(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("denial", name=op.f("pk_access_request")),
        sa.UniqueConstraint("key", name=op.f("uq_access_request_key")),
    )
    with op.batch_alter_table("access_request", schema=None) as batch_op:
        batch_op.create_index("ix_access_request_created", ["created_at"], unique=False)
    with op.batch_alter_table("mandate_wish", schema=None) as batch_op:
        batch_op.add_column(sa.Column("person_id", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("answer", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("mandate_id", sa.Text(), nullable=True))
