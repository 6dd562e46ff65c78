"""Identity's tables, for people and agents.

Times are INTEGER milliseconds, roles and transports space-separated words, reference values
canonical JSON. Secrets (setup links, session cookies) are here as SHA-256 only.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Column,
    ForeignKey,
    Index,
    Insert,
    Integer,
    LargeBinary,
    Table,
    Text,
    bindparam,
    insert,
)

from actfor.store import metadata


def _text(name: str, *rest: Any, **options: Any) -> Column[str]:
    return Column(name, Text, *rest, **{"nullable": False, **options})


def _integer(name: str, **options: Any) -> Column[int]:
    return Column(name, Integer, **{"nullable": False, **options})


person = Table(
    "person",
    metadata,
    _text("id", primary_key=True),
    _text("name"),
    _text("roles"),
    _text("state"),
    _integer("epoch"),
    _integer("created_at"),
)
passkey = Table(
    "passkey",
    metadata,
    Column("credential_id", LargeBinary, primary_key=True),
    _text("person_id", ForeignKey("person.id"), index=True),
    Column("public_key", LargeBinary, nullable=False),
    _integer("sign_count"),
    _integer("backup_eligible"),
    _integer("backed_up"),
    _text("aaguid"),
    _text("transports"),
    _integer("created_at"),
)
web_session = Table(
    "web_session",
    metadata,
    _text("hash", primary_key=True),
    _text("id", unique=True),
    _text("person_id", ForeignKey("person.id"), index=True),
    _integer("created_at"),
    _integer("expires_at"),
    _integer("idle_at"),
    Column("passkey", LargeBinary, nullable=False),
)
setup_link = Table(
    "setup_link",
    metadata,
    _text("hash", primary_key=True),
    _text("kind"),
    _text("name", nullable=True),
    _text("roles"),
    _text("person_id", ForeignKey("person.id"), nullable=True),
    _integer("expires_at"),
    _integer("used_at", nullable=True),
)
ceremony = Table(
    "ceremony",
    metadata,
    _text("id", primary_key=True),
    _text("kind"),
    Column("challenge", LargeBinary, nullable=False),
    _text("subject"),
    _text("context"),
    _integer("expires_at", index=True),
)
agent = Table(
    "agent",
    metadata,
    _text("name", primary_key=True),
    _text("skeleton", unique=True),
    _text("id", unique=True),
    _text("owner", ForeignKey("person.id")),
    _text("purpose"),
    _text("tier"),
    _text("state"),
    _integer("epoch"),
    _text("reference"),
    _text("manifest_digest"),
    _integer("created_at"),
    _text("cause", nullable=True),
)
agent_tree = Table(
    "agent_tree",
    metadata,
    _text("agent", ForeignKey("agent.name"), primary_key=True),
    _text("digest"),
    _text("listing"),
)
agent_instance = Table(
    "agent_instance",
    metadata,
    _text("id", primary_key=True),
    _text("agent", ForeignKey("agent.name")),
    _integer("pid"),
    _integer("started_at"),
    _text("program"),
    _text("jkt"),
    _text("manifest"),
    _integer("svid_expires_at"),
    _text("ended", nullable=True),
    _text("host", nullable=True),  # the machine it runs on; NULL: from before there were several
    Index("ix_agent_instance_live", "agent", "ended", "svid_expires_at"),
)


def insert_into(table: Table) -> Insert:
    """An INSERT of every column, each bound by its name."""
    return insert(table).values({column.name: bindparam(column.name) for column in table.columns})
