"""What the role that nodes run as may do on PostgreSQL: everything but change what was recorded.

The tables belong to another role, which migrates (`actfor db migrate`). Triggers, made by a
migration, hold whoever may do more, the owner included: a leaf is never changed, and deleted only
below the minimum that the log itself has declared pruned.
"""

from __future__ import annotations

import re

from actfor.errors import Kind, Refused

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_RECORDED = ("log_leaf", "log_tile")

GUARDS = """
CREATE FUNCTION actfor_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'what was recorded is not changed' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE FUNCTION actfor_refuse_early_delete() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.idx >= coalesce((SELECT minimum FROM log_minimum WHERE id = 1), 0) THEN
    RAISE EXCEPTION 'leaf % is not pruned', OLD.idx USING ERRCODE = 'insufficient_privilege';
  END IF;
  RETURN OLD;
END $$;
CREATE TRIGGER actfor_unchanged BEFORE UPDATE ON log_leaf
  FOR EACH ROW EXECUTE FUNCTION actfor_refuse_change();
CREATE TRIGGER actfor_unpruned BEFORE DELETE ON log_leaf
  FOR EACH ROW EXECUTE FUNCTION actfor_refuse_early_delete();
CREATE TRIGGER actfor_whole BEFORE TRUNCATE ON log_leaf
  FOR EACH STATEMENT EXECUTE FUNCTION actfor_refuse_change();
CREATE TRIGGER actfor_unchanged BEFORE UPDATE ON log_tile
  FOR EACH ROW EXECUTE FUNCTION actfor_refuse_change();
CREATE TRIGGER actfor_whole BEFORE TRUNCATE ON log_tile
  FOR EACH STATEMENT EXECUTE FUNCTION actfor_refuse_change();
"""


def grants(role: str) -> str:
    """The statements that let ``role`` run nodes and nothing else, for the owner to run.

    Raises:
        Refused: MALFORMED for a name that would need quoting.
    """
    if not _NAME.fullmatch(role):
        raise Refused(Kind.MALFORMED, "a role's name is lowercase letters, digits and underscores")
    recorded = ", ".join(_RECORDED)
    return (
        f"GRANT USAGE ON SCHEMA public TO {role};\n"
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role};\n"
        f"REVOKE UPDATE ON {recorded} FROM {role};\n"
        f"REVOKE INSERT, UPDATE, DELETE ON alembic_version FROM {role};\n"
        # What later migrations make; run this as the role that owns the tables.
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public"
        f" GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {role};\n"
    )
