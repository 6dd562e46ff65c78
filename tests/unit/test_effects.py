"""What a call would do: the operator's word, the arguments' words, and a stranger's hints."""

import sqlite3
import time
from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actfor.authorization.model import ToolEffect
from actfor.errors import Kind, Refused
from actfor.gateway.effects import AmountRule, Overlay, SqlEffect, judge
from actfor.gateway.sql import MAX_LENGTH, SEVERITY, classify_sql, most_severe
from actfor.wire.canonical import JsonObject, JsonValue
from actfor.wire.rar import Money

READS = """
SELECT 1
select name from customers where id = 3 order by name limit 5
SELECT "a" FROM [b]
VALUES (1)
SELECT a FROM t UNION SELECT b FROM u
SELECT 1; SELECT 2;
WITH c AS (SELECT 1 AS x) SELECT x FROM c
SELECT * FROM pragma_table_info('customers')
SELECT name FROM sqlite_master WHERE type = 'table'
SELECT count(*), sum(a), group_concat(b), json_extract(c, '$.d') FROM t GROUP BY e HAVING sum(a) > 2
SELECT printf('%s', a), ifnull(a, 1), strftime('%Y', 'now'), julianday('now'), hex(a) FROM t
SELECT * FROM t WHERE note = 'please; DROP TABLE t; thanks'
SELECT * FROM t -- a remark
SELECT 1 /* one remark */
SELECT row_number() OVER (PARTITION BY a ORDER BY b) FROM t
"""
WRITES = """
INSERT INTO t VALUES (1)
INSERT INTO t (a) SELECT a FROM u
INSERT INTO t VALUES (1) ON CONFLICT DO UPDATE SET a = 2
INSERT OR REPLACE INTO t VALUES (1)
REPLACE INTO t VALUES (1)
UPDATE t SET a = 1 WHERE id = 3
WITH c AS (SELECT 1 AS x) INSERT INTO t SELECT x FROM c
SELECT 1; INSERT INTO t VALUES (1)
BEGIN; UPDATE t SET a = 1 WHERE id = 3; COMMIT
SELECT * FROM t FOR UPDATE
"""
DELETIONS = """
DELETE FROM t WHERE id = 1
DELETE FROM t
DROP TABLE t
DROP VIEW v
TRUNCATE TABLE t
UPDATE t SET a = 1
UPDATE t SET a = 1 WHERE 1 = 1
UPDATE t SET a = 1 WHERE TRUE
UPDATE t SET a = 1 WHERE 'x' = 'x'
WITH gone AS (DELETE FROM t RETURNING *) SELECT * FROM gone
WITH a AS (UPDATE t SET b = 1 RETURNING *) SELECT * FROM a
INSERT INTO t VALUES (1); DELETE FROM u
SELECT 1 /* x */; DELETE FROM t
MERGE INTO t USING s ON t.a = s.a WHEN MATCHED THEN DELETE
"""
INFRASTRUCTURE = """
CREATE TABLE t (a)
CREATE TABLE t AS SELECT * FROM u
CREATE INDEX i ON t (a)
CREATE VIEW v AS SELECT 1
ALTER TABLE t ADD COLUMN b
ALTER TABLE t DROP COLUMN b
PRAGMA writable_schema = 1
PRAGMA table_info(t)
ATTACH DATABASE '/tmp/x' AS y
ATTACH '/tmp/x' AS y
DETACH y
VACUUM
VACUUM INTO '/tmp/copy.db'
SELECT * INTO x FROM y
ANALYZE
DROP TABLE t; CREATE TABLE t (a)
"""
EXECUTIONS = """
SELECT load_extension('evil')
SELECT LOAD_EXTENSION('evil')
SELECT writefile('/etc/passwd', 'x')
SELECT readfile('/etc/passwd')
SELECT * FROM t WHERE a = (SELECT load_extension('evil'))
INSERT INTO t SELECT writefile('a', 'b')
REPLACE INTO t SELECT load_extension('evil')
SELECT edit('x', 'vi')
SELECT fts3_tokenizer('x', 'y')
SELECT pg_read_file('/etc/passwd')
COPY t TO PROGRAM 'sh'
"""
UNKNOWNS = """
nonsense here
DELETE
EXPLAIN DELETE FROM t
SELECT 1 DROP TABLE x
SELECT 1 /* /* */; DROP TABLE t -- */
SELECT 1 /*! ; DROP TABLE t */
SELECT {# a #} 1
SELECT {{ x }}
SELECT 'a\\'; DROP TABLE t; --'
SELECT my_own_function(1)
SELECT $$ x $$
CREATE TRIGGER x AFTER INSERT ON t BEGIN DELETE FROM t; END
SAVEPOINT x
-- only a remark
"""


def table(effect: ToolEffect, texts: str) -> list[tuple[str, ToolEffect]]:
    return [(line, effect) for line in texts.strip().splitlines()]


@pytest.mark.parametrize(
    ("text", "effect"),
    [
        *table(ToolEffect.READ, READS),
        *table(ToolEffect.WRITE, WRITES),
        *table(ToolEffect.DELETE, DELETIONS),
        *table(ToolEffect.INFRASTRUCTURE, INFRASTRUCTURE),
        *table(ToolEffect.EXECUTE, EXECUTIONS),
        *table(ToolEffect.UNKNOWN, UNKNOWNS),
        ("", ToolEffect.UNKNOWN),
        ("GRANT ALL ON t TO x", ToolEffect.GRANT_ACCESS),
        ("SELECT 1 /* \0 */", ToolEffect.UNKNOWN),
        ("SELECT '" + "a" * MAX_LENGTH + "'", ToolEffect.UNKNOWN),
    ],
)
def test_the_effect_of_an_sql_text(text: str, effect: ToolEffect) -> None:
    assert classify_sql(text) is effect


def test_every_effect_has_a_rank_and_unknown_is_the_highest() -> None:
    assert set(SEVERITY) == set(ToolEffect)
    assert most_severe(*ToolEffect) is ToolEffect.UNKNOWN
    assert most_severe(ToolEffect.READ, ToolEffect.DELETE, ToolEffect.WRITE) is ToolEffect.DELETE


FRAGMENTS = [
    *"; -- /* */ ' \" ` [ ] ( ) \\ WHERE a = 1 x' UNION , # $$ E' q'[".split(),
    *("SELECT 1", "DELETE FROM t", "DROP TABLE t", "WITH a AS (", "UPDATE t SET a = 2"),
    *("INSERT INTO t VALUES (1)", "\n", "\u00a0"),
]


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=9).map(" ".join))
def test_what_is_called_a_read_changes_nothing_in_sqlite(text: str) -> None:
    """The law that matters, against the real database: the parser may not be fooled."""
    if classify_sql(text) is not ToolEffect.READ:
        return
    with sqlite3.connect(":memory:") as database:
        database.executescript("CREATE TABLE t (a); INSERT INTO t VALUES (7);")
        before = list(database.iterdump())
        with suppress(sqlite3.Error):
            database.executescript(text)
        assert list(database.iterdump()) == before, text
    database.close()


@given(st.text(max_size=200))
def test_no_text_breaks_the_judge(text: str) -> None:
    assert isinstance(classify_sql(text), ToolEffect)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT " + "(" * 20_000,
        "SELECT " + "a(" * 9_000 + "1" + ")" * 9_000,
        "SELECT " + "CASE WHEN 1 THEN " * 1_500,
        "SELECT * FROM " + "(SELECT * FROM " * 1_500,
        "(" * 16_000 + ")" * 16_000,
        "SELECT " + "NOT " * 8_000 + "1",
        "SELECT " + "-" * 2 + "a" * 8_000,
        "SELECT 1" + " UNION SELECT 1" * 2_000,
    ],
)
def test_a_hostile_text_is_judged_quickly(text: str) -> None:
    begun = time.process_time()
    effect = classify_sql(text)
    assert time.process_time() - begun < 3
    assert effect in {ToolEffect.UNKNOWN, ToolEffect.READ}


# -- the overlay ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        {"effect": "read"},
        {"effect": {"sql": "/query", "dialect": "sqlite"}},
        {"effect": "pay", "amount": {"pointer": "/amount", "currency": "EUR"}},
        {"effect": "pay", "amount": {"pointer": "/a/0/b~1c", "currency": {"pointer": "/cur"}}},
    ],
)
def test_an_overlay_reads_back_as_it_was_written(value: dict[str, object]) -> None:
    overlay = Overlay.from_json(value)  # type: ignore[arg-type] # a table of JSON objects
    assert overlay.to_json() == value
    assert Overlay.from_json(overlay.to_json()) == overlay


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "read",
        {"effect": "reed"},
        {"effect": {}},
        {"effect": {"sql": "query"}},
        {"effect": {"sql": "/query", "dialect": "klingon"}},
        {"effect": {"sql": "/query", "extra": 1}},
        {"efect": "read"},
        {"effect": 7},
        {"effect": "pay", "amount": {}},
        {"effect": "pay", "amount": {"pointer": "/amount"}},
        {"effect": "pay", "amount": {"pointer": "/amount", "currency": "euro"}},
        {"effect": "pay", "amount": {"pointer": "amount", "currency": "EUR"}},
        {"effect": "pay", "amount": {"pointer": "/" + "a" * 300, "currency": "EUR"}},
    ],
)
def test_a_wrong_overlay_is_refused_and_never_guessed_at(value: object) -> None:
    with pytest.raises(Refused) as refused:
        Overlay.from_json(value)  # type: ignore[arg-type] # wrong on purpose
    assert refused.value.kind is Kind.MALFORMED


def test_a_currency_that_there_is_not_is_refused_now_and_read_where_it_was_kept() -> None:
    said: JsonValue = {"effect": "pay", "amount": {"pointer": "/amount", "currency": "EUO"}}
    with pytest.raises(Refused, match="`EUO` is no currency"):
        Overlay.said(said)
    assert Overlay.from_json(said).to_json() == said


def test_a_tool_nobody_described_is_unknown() -> None:
    assert judge(Overlay(), None, {}).effect is ToolEffect.UNKNOWN
    assert judge(Overlay(), {"readOnlyHint": True}, {}).effect is ToolEffect.UNKNOWN


@pytest.mark.parametrize(
    ("said", "annotations", "effect"),
    [
        (ToolEffect.READ, None, ToolEffect.READ),
        (ToolEffect.READ, {}, ToolEffect.READ),
        (ToolEffect.READ, {"readOnlyHint": False}, ToolEffect.WRITE),
        (ToolEffect.READ, {"destructiveHint": True}, ToolEffect.DELETE),
        (ToolEffect.READ, {"readOnlyHint": True, "destructiveHint": True}, ToolEffect.READ),
        (ToolEffect.DELETE, {"readOnlyHint": True}, ToolEffect.DELETE),
        (ToolEffect.DELETE, {"destructiveHint": False}, ToolEffect.DELETE),
        (ToolEffect.WRITE, {"destructiveHint": True}, ToolEffect.DELETE),
        (ToolEffect.EXECUTE, {"destructiveHint": True}, ToolEffect.EXECUTE),
        (ToolEffect.READ, "readOnlyHint", ToolEffect.READ),
        (ToolEffect.READ, {"destructiveHint": "yes"}, ToolEffect.READ),
    ],
)
def test_a_servers_annotations_may_only_raise(
    said: ToolEffect, annotations: object, effect: ToolEffect
) -> None:
    assert judge(Overlay(said), annotations, {}).effect is effect  # type: ignore[arg-type]


def test_an_argument_that_should_be_judged_and_is_not_there_is_unknown() -> None:
    overlay = Overlay(SqlEffect("/query"))
    assert judge(overlay, None, {"query": "SELECT 1"}).effect is ToolEffect.READ
    for arguments in (
        {},
        {"query": None},
        {"query": 1},
        {"query": ["SELECT 1"]},
        {"Query": "SELECT 1"},
    ):
        assert judge(overlay, None, arguments).effect is ToolEffect.UNKNOWN


PAY = Overlay(ToolEffect.PAY, AmountRule("/amount", currency="EUR"))


@pytest.mark.parametrize(
    ("amount", "minor"),
    [("500.00", 50000), ("0", 0), (5, 500), (12.5, 1250), ("0.01", 1), (0.1, 10)],
)
def test_an_amount_is_read_exactly(amount: object, minor: int) -> None:
    judged = judge(PAY, None, {"amount": amount})  # type: ignore[dict-item] # JSON scalars
    assert judged.effect is ToolEffect.PAY
    assert judged.amount is not None
    assert judged.amount.minor == minor


@pytest.mark.parametrize(
    "amount",
    ["-1", -1, "1e3", 1e300, "0.001", "1,000", " 5", "5 ", "", None, True, [5], {"a": 5},
     "\u0665", "NaN", float("nan"), "9" * 40],
)  # fmt: skip
def test_an_amount_nobody_can_read_makes_the_effect_unknown(amount: object) -> None:
    judged = judge(PAY, None, {"amount": amount})  # type: ignore[dict-item] # wrong on purpose
    assert judged.effect is ToolEffect.UNKNOWN
    assert judged.amount is None


def test_the_currency_may_be_an_argument() -> None:
    overlay = Overlay(ToolEffect.PAY, AmountRule("/a/0", currency_pointer="/cur"))
    assert judge(overlay, None, {"a": ["3"], "cur": "JPY"}).amount == Money(Decimal(3), "JPY")
    wrong: list[JsonObject] = [
        {"a": ["3"]},
        {"a": ["3"], "cur": "yen"},
        {"a": [], "cur": "JPY"},
        {"a": {"00": "3"}, "cur": "JPY"},
    ]
    for arguments in wrong:
        assert judge(overlay, None, arguments).effect is ToolEffect.UNKNOWN
