"""What an SQL text does to the world, before anyone runs it.

The text comes from an agent, so every doubt is UNKNOWN, and UNKNOWN asks a person: what does not
parse, what parses as something this page does not name, a function nobody vouches for, comments
that two parsers may read differently. Statements are judged together; the most severe wins.

Not checked: what tables hold, what triggers and views do, whether the text runs at all.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from actfor.authorization.model import ToolEffect

MAX_LENGTH: Final = 8_192
"""Longer texts are UNKNOWN, in characters."""

DIALECTS: Final = frozenset(
    {"sqlite", "postgres", "mysql", "tsql", "duckdb", "snowflake", "bigquery"}
)

UNNAMED: Final = ("postgres", "sqlite")
"""What a text may be where no overlay names a dialect, in the order in which it is tried."""

SEVERITY: Final = {
    effect: rank
    for rank, effect in enumerate(
        (
            ToolEffect.READ,
            ToolEffect.WRITE,
            ToolEffect.SHARE,
            ToolEffect.EGRESS,
            ToolEffect.PAY,
            ToolEffect.DELETE,
            ToolEffect.GRANT_ACCESS,
            ToolEffect.INFRASTRUCTURE,
            ToolEffect.EXECUTE,
            ToolEffect.UNKNOWN,
        )
    )
}
"""Least to most severe."""

# sqlglot warns about each text it cannot fully read; the texts are an agent's, the verdict is ours.
logging.getLogger("sqlglot").setLevel(logging.CRITICAL)


def most_severe(*effects: ToolEffect) -> ToolEffect:
    """The effect that governs when several are true."""
    return max(effects, key=SEVERITY.__getitem__)


@lru_cache(maxsize=4096)
def classify_sql(text: str, dialect: str = "sqlite") -> ToolEffect:
    """The effect of running ``text``."""
    try:
        statements = _parsed(text, dialect)
        if not statements:
            return ToolEffect.UNKNOWN
        return most_severe(*(_statement(tree, dialect) for tree in statements))
    except (SqlglotError, RecursionError, ValueError):
        return ToolEffect.UNKNOWN


def effect_of(text: str, dialect: str | None) -> ToolEffect:
    """The effect of running ``text``; where nobody says in which SQL it is, the most severe of
    those that it may be: what only one of them holds for reading is UNKNOWN.
    """
    if dialect is not None:
        return classify_sql(text, dialect)
    return most_severe(*(classify_sql(text, each) for each in UNNAMED))


def written_in(text: str) -> str | None:
    """In which SQL a text can be read where nobody says it; None if it is none of them."""
    readable = (each for each in UNNAMED if classify_sql(text, each) is not ToolEffect.UNKNOWN)
    return next(readable, None)


@dataclass(frozen=True, slots=True)
class Spelled:
    """The strings that stand in an SQL text, in order, each once.

    ``assembled``: a string is put together out of pieces or codes, so that what the database will
    hold stands nowhere in the text.
    """

    strings: tuple[str, ...] = ()
    assembled: bool = False


@lru_cache(maxsize=1024)
def spelled(text: str, dialect: str = "sqlite") -> Spelled:
    """The strings of ``text``; of one that cannot be read, all that is known is that it hides."""
    try:
        nodes = [node for tree in _parsed(text, dialect) for node in tree.walk()]
    except (SqlglotError, RecursionError, ValueError):
        return Spelled(assembled=True)
    strings = [str(node.this) for node in nodes if _is_string(node)]
    return Spelled(tuple(dict.fromkeys(strings)), not nodes or any(map(_assembles, nodes)))


@lru_cache(maxsize=64)  # effect and strings of one call are asked for one after the other
def _parsed(text: str, dialect: str) -> tuple[exp.Expr, ...]:
    if len(text) > MAX_LENGTH or _is_ambiguous(text):
        return ()
    return tuple(tree for tree in sqlglot.parse(text, dialect=dialect) if tree is not None)


def _is_string(node: exp.Expr) -> bool:
    return isinstance(node, exp.Literal) and bool(node.is_string)


def _assembles(node: exp.Expr) -> bool:
    """Whether a node makes a string of others; to append to a column is not that."""
    if isinstance(node, exp.Chr | exp.HexString | exp.Unhex | exp.Command):
        return True
    parts = [part for part in node.iter_expressions() if _is_string(part)]
    if isinstance(node, exp.DPipe):  # a || b || c is read as (a || b) || c
        return bool(parts) and len([*filter(_is_string, node.find_all(exp.Literal))]) > 1
    if isinstance(node, exp.Concat | exp.ConcatWs | exp.Replace):
        return len(parts) > 1
    return isinstance(node, exp.Anonymous) and bool(parts) and node.name.lower() in _SPELLING


def _is_ambiguous(text: str) -> bool:
    """Whether our parser and the database's may see different texts.

    Comments that nest in some parsers and not in others, comments that MySQL executes (``/*!``),
    templates that sqlglot skips, a NUL that ends the text for a C library, and a backslash before
    a quote, which escapes it in some databases and not in others.
    """
    return (
        "\0" in text
        or "{#" in text
        or "{%" in text
        or "{{" in text
        or text.count("/*") > 1
        or "/*!" in text
        or "/*+" in text
        or "\\'" in text
        or '\\"' in text
    )


def _statement(tree: exp.Expr, dialect: str) -> ToolEffect:
    if isinstance(tree, exp.Command):
        return _command(tree, dialect)
    if not isinstance(tree, tuple(_ROOTS)):
        return ToolEffect.UNKNOWN
    return most_severe(ToolEffect.READ, *_effects_within(tree))


def _command(tree: exp.Command, dialect: str) -> ToolEffect:
    """What sqlglot keeps as text: judged by its keyword, never as a read."""
    keyword = str(tree.this).upper()
    if keyword == "REPLACE":  # an INSERT by another name; what it selects matters as well
        return classify_sql(f"INSERT {tree.expression.name}", dialect)
    return _KEYWORDS.get(keyword, ToolEffect.UNKNOWN)


def _effects_within(tree: exp.Expr) -> Iterator[ToolEffect]:
    for node in tree.walk():
        if (effect := _effect_of(type(node))) is not None:
            yield effect
        if isinstance(node, exp.Update) and not _narrows(node):
            yield ToolEffect.DELETE  # every row loses what it held
        elif isinstance(node, exp.Anonymous):
            yield _function(node.name.lower())
        elif isinstance(node, exp.Func) and (name := node.sql_name().lower()) in _EXECUTES:
            yield _function(name)
        elif isinstance(node, exp.Select) and node.args.get("locks"):
            yield ToolEffect.WRITE


def _effect_of(kind: type[exp.Expr]) -> ToolEffect | None:
    if kind not in _SEEN:
        found = (effect for known, effect in _NODES.items() if issubclass(kind, known))
        _SEEN[kind] = next(found, None)
    return _SEEN[kind]


def _narrows(node: exp.Update) -> bool:
    """Whether an UPDATE names rows: a WHERE without a column, such as ``1=1``, names all."""
    where = node.args.get("where")
    return where is not None and where.find(exp.Column) is not None


def _function(name: str) -> ToolEffect:
    if name in _EXECUTES or name.startswith(("pg_read_", "pg_ls_", "lo_", "dblink", "xp_", "sys_")):
        return ToolEffect.EXECUTE
    if name in _HARMLESS or name.startswith("pragma_"):
        # SQLite offers as `pragma_…` tables only the pragmas without side effects.
        return ToolEffect.READ
    return ToolEffect.UNKNOWN


_SPELLING: Final = frozenset(
    {
        "printf", "format", "char", "chr", "unhex", "replace", "translate", "substr", "substring",
        "reverse", "unistr",
    }
)  # fmt: skip
"""Functions that can spell one string out of others."""

_ROOTS: Final = (
    exp.Select,
    exp.SetOperation,
    exp.Subquery,
    exp.Values,
    exp.Insert,
    exp.Update,
    exp.Delete,
    exp.Merge,
    exp.TruncateTable,
    exp.Drop,
    exp.Create,
    exp.Alter,
    exp.Pragma,
    exp.Attach,
    exp.Detach,
    exp.Analyze,
    exp.Set,
    exp.Use,
    exp.Copy,
    exp.LoadData,
    exp.Grant,
    exp.Revoke,
    exp.Transaction,
    exp.Commit,
    exp.Rollback,
    exp.Kill,
    exp.Semicolon,
)

_NODES: Final[dict[type[exp.Expr], ToolEffect]] = {
    exp.Insert: ToolEffect.WRITE,
    exp.Update: ToolEffect.WRITE,
    exp.Delete: ToolEffect.DELETE,
    exp.Merge: ToolEffect.DELETE,
    exp.TruncateTable: ToolEffect.DELETE,
    exp.Drop: ToolEffect.DELETE,
    exp.Create: ToolEffect.INFRASTRUCTURE,
    exp.Alter: ToolEffect.INFRASTRUCTURE,
    exp.Pragma: ToolEffect.INFRASTRUCTURE,
    exp.Attach: ToolEffect.INFRASTRUCTURE,
    exp.Detach: ToolEffect.INFRASTRUCTURE,
    exp.Analyze: ToolEffect.INFRASTRUCTURE,
    exp.Set: ToolEffect.INFRASTRUCTURE,
    exp.Use: ToolEffect.INFRASTRUCTURE,
    exp.Into: ToolEffect.INFRASTRUCTURE,
    exp.Copy: ToolEffect.EXECUTE,
    exp.LoadData: ToolEffect.EXECUTE,
    exp.Kill: ToolEffect.EXECUTE,
    exp.Command: ToolEffect.UNKNOWN,
    exp.Grant: ToolEffect.GRANT_ACCESS,
    exp.Revoke: ToolEffect.GRANT_ACCESS,
    exp.Transaction: ToolEffect.WRITE,
    exp.Commit: ToolEffect.WRITE,
    exp.Rollback: ToolEffect.WRITE,
}

_SEEN: Final[dict[type[exp.Expr], ToolEffect | None]] = {}

_KEYWORDS: Final = {
    "CREATE": ToolEffect.INFRASTRUCTURE,
    "ALTER": ToolEffect.INFRASTRUCTURE,
    "VACUUM": ToolEffect.INFRASTRUCTURE,
    "REINDEX": ToolEffect.INFRASTRUCTURE,
    "ATTACH": ToolEffect.INFRASTRUCTURE,
    "DETACH": ToolEffect.INFRASTRUCTURE,
    "DROP": ToolEffect.DELETE,
    "TRUNCATE": ToolEffect.DELETE,
    "CALL": ToolEffect.EXECUTE,
    "EXEC": ToolEffect.EXECUTE,
    "EXECUTE": ToolEffect.EXECUTE,
    "DO": ToolEffect.EXECUTE,
    "LOAD": ToolEffect.EXECUTE,
    "GRANT": ToolEffect.GRANT_ACCESS,
    "REVOKE": ToolEffect.GRANT_ACCESS,
}

_EXECUTES: Final = frozenset(
    {
        "load_extension", "writefile", "readfile", "edit", "fts3_tokenizer", "load_file", "system",
        "shell", "eval", "query_to_xml", "database_to_xml", "table_to_xml", "copy_file",
        "read_csv", "read_csv_auto", "read_parquet", "read_json", "read_text", "read_blob",
        "openrowset", "opendatasource", "set_config", "setval", "pg_terminate_backend",
        "pg_cancel_backend", "pg_reload_conf", "pg_sleep", "sleep", "benchmark",
    }
)  # fmt: skip

_HARMLESS: Final = frozenset(
    {
        # SQLite's core, date, aggregate and JSON functions that sqlglot has no own class for
        "changes", "total_changes", "last_insert_rowid", "printf", "format", "glob", "likelihood",
        "likely", "unlikely", "quote", "randomblob", "zeroblob", "soundex", "sqlite_version",
        "sqlite_source_id", "sqlite_compileoption_used", "total", "julianday", "unixepoch",
        "strftime", "timediff", "datetime", "time", "date", "octet_length", "unistr", "concat_ws",
        "iif", "nullif", "char", "unhex", "sign", "json", "jsonb", "json_array",
        "json_array_length", "json_each", "json_tree", "json_extract", "json_group_array",
        "json_group_object", "json_insert", "json_object", "json_patch", "json_pretty",
        "json_quote", "json_remove", "json_replace", "json_set", "json_type", "json_valid",
        "json_error_position", "bm25", "highlight", "snippet", "ceiling", "acosh", "asinh",
        "atanh", "degrees", "radians", "mod", "pi", "trunc", "min", "max", "ntile", "rank",
        "dense_rank", "cume_dist", "percent_rank",
        # and what PostgreSQL readers use most
        "version", "current_setting", "pg_typeof", "to_char", "to_json", "to_jsonb", "row_to_json",
        "jsonb_agg", "json_agg", "json_build_object", "jsonb_build_object", "age", "btrim",
        "initcap", "obj_description", "col_description", "pg_get_constraintdef", "pg_get_indexdef",
        "pg_total_relation_size", "pg_relation_size", "pg_size_pretty", "has_table_privilege",
    }
)  # fmt: skip
