"""Personal text in tables is sealed from here on, in the columns it stood in (ADR 18).

Nothing changes in the schema, and migrations have no keys: the server seals what is in clear when
it starts. The version keeps an older release from starting on text that it could not read.
"""

from __future__ import annotations

revision = "0078"
down_revision = "0076"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """See the module."""
