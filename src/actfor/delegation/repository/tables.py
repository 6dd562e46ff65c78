"""The tables. Times are milliseconds, amounts minor units, flags 0 or 1."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, Integer, Table, Text

from actfor.store import metadata

mandate = Table(
    "mandate",
    metadata,
    Column("id", Text, primary_key=True),
    Column("person_id", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("goal", Text, nullable=False),
    Column("details", Text, nullable=False),  # canonical authorization_details: what was hashed
    Column("authority_hash", Text, nullable=False),
    Column("intent_hash", Text, nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("expires_at", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("four_eyes", Integer, nullable=False),
    Column("reason", Text),
    # INVARIANT: used never exceeds limit; the constraint holds even against our own mistakes.
    Column("calls_limit", Integer),
    Column("calls_used", Integer, nullable=False),
    Column("amount_limit", Integer),
    Column("amount_used", Integer, nullable=False),
    # Calls in the clock hour of the last one (hours since the epoch): how fast it goes.
    Column("recent_hour", Integer),
    Column("recent_calls", Integer),
    CheckConstraint("calls_limit IS NULL OR calls_used <= calls_limit", name="calls"),
    CheckConstraint("amount_limit IS NULL OR amount_used <= amount_limit", name="amount"),
)
Index("ix_mandate_person_created", mandate.c.person_id, mandate.c.created_at)
Index("ix_mandate_created", mandate.c.created_at)

issued = Table(
    "issued_grant",
    metadata,
    Column("id", Text, primary_key=True),
    Column("mandate_id", Text, ForeignKey("mandate.id"), nullable=False),
    Column("jti", Text, nullable=False, unique=True),
    Column("instance", Text, nullable=False),
    Column("audience", Text, nullable=False),
    Column("jkt", Text, nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("expires_at", Integer, nullable=False),
    Column("calls_limit", Integer),
    Column("calls_used", Integer, nullable=False),
    Column("amount_limit", Integer),
    Column("amount_used", Integer, nullable=False),
    # The grant it was made from, if that is not the mandate itself; and when it was taken back.
    Column("parent", Text),
    Column("revoked_at", Integer),
    CheckConstraint("calls_limit IS NULL OR calls_used <= calls_limit", name="calls"),
    CheckConstraint("amount_limit IS NULL OR amount_used <= amount_limit", name="amount"),
)
Index("ix_issued_grant_expires", issued.c.expires_at)
Index("ix_issued_grant_mandate", issued.c.mandate_id)

# `max_calls` of single grants: of a mandate (owner is its id) or of one token (owner is its grant).
slot = Table(
    "grant_slot",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("slot", Integer, primary_key=True, autoincrement=False),
    Column("calls_limit", Integer, nullable=False),
    Column("calls_used", Integer, nullable=False),
    CheckConstraint("calls_used <= calls_limit", name="calls"),
)

# What was counted over time, in slices of time (`delegation.usage`); owner is a mandate or a token.
usage_meter = Table(
    "usage_meter",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("slice", Integer, primary_key=True, autoincrement=False),
    Column("used", Integer, nullable=False),
)

# What was used before: recipients, values let through, calls that changed something, as digests.
usage_set = Table(
    "usage_set",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Text, primary_key=True),
    Column("first_at", Integer, nullable=False),
    Column("last_at", Integer, nullable=False),
)

# One value that a person said is right for one argument of one tool, under one mandate.
endorsement = Table(
    "mandate_endorsement",
    metadata,
    Column("id", Text, primary_key=True),
    Column("mandate_id", Text, ForeignKey("mandate.id"), nullable=False),
    Column("tool", Text, nullable=False),  # server/tool
    Column("slot", Text, nullable=False),
    Column("value", Text, nullable=False),
    Column("given_by", Text, nullable=False),
    Column("approval_id", Text, nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("withdrawn_at", Integer),
)
Index("ix_mandate_endorsement_mandate", endorsement.c.mandate_id)

template = Table(
    "mandate_template",
    metadata,
    Column("name", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("body", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", Integer, nullable=False),
)

# What agents wish for: never authority, forgotten after a day.
wish = Table(
    "mandate_wish",
    metadata,
    Column("id", Text, primary_key=True),
    Column("agent", Text, nullable=False),
    Column("details", Text, nullable=False),
    Column("says", Text),
    Column("created_at", Integer, nullable=False),
    Column("expires_at", Integer, nullable=False),
    # For whom the agent acts, if it showed that: nobody else is shown it, nor can answer.
    Column("person_id", Text),
    # What a person made of it, once: `granted` with the mandate that came of it, or `dismissed`.
    Column("answer", Text),
    Column("mandate_id", Text),
)
Index("ix_mandate_wish_expires", wish.c.expires_at)

# A DPoP proof is spent by being here; it may be forgotten once it is stale by itself.
proof = Table(
    "spent_proof",
    metadata,
    Column("once", Text, primary_key=True),
    Column("expires_at", Integer, nullable=False),
)
Index("ix_spent_proof_expires", proof.c.expires_at)

device = Table(
    "device_login",
    metadata,
    Column("code_hash", Text, primary_key=True),
    Column("user_code", Text, nullable=False, unique=True),
    Column("state", Text, nullable=False),
    Column("jkt", Text),
    Column("person_id", Text),
    Column("person_epoch", Integer),
    Column("polled_at", Integer),
    Column("expires_at", Integer, nullable=False),
)
Index("ix_device_login_expires", device.c.expires_at)
