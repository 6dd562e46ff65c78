"""Figures as a table for people; the same table stands in README.md."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.harness import Figures, Samples

README = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- measured -->", "<!-- /measured -->"


@dataclass(frozen=True, slots=True)
class Row:
    """One line: our figure, the target of the design, the peer's figure."""

    what: str
    figure: str
    unit: str
    target: str
    peers: tuple[tuple[str, str], ...] = ()
    less_is_better: bool = False


def _decided(where: str, name: str, target: str, peers: tuple[tuple[str, str], ...]) -> list[Row]:
    """The rows of one database: throughput of the largest crowd, latencies of each."""
    rows = [
        Row(f"durable decisions, {where}, 256 callers", f"{name}_256_per_s", "/s", target, peers)
    ]
    for callers in (1, 8, 64, 256):
        alone = callers == 1
        what = f"durable decision, {where}, c={callers}"
        rows += [
            Row(f"{what}, p50", f"{name}_{callers}_p50_ms", "ms", "≤ 2" if alone else ""),
            Row(f"{what}, p99", f"{name}_{callers}_p99_ms", "ms", "≤ 15" if alone else ""),
        ]
    return [*rows, Row(f"durable decision, {where}, CPU", f"{name}_256_cpu_us", "µs", "")]


_SCHEMA, _PLAIN = "cedarpy, parsed before", "cedarpy, and without schema"
_BOUND, _PROXY = "oidc-provider, assertion + DPoP", "FastMCP proxy"
ROWS = (
    Row(
        "decision, 100 policies",
        "decision_us_100",
        "µs",
        "≤ 40",
        ((_SCHEMA, "peer_linear_us_100"), (_PLAIN, "peer_unchecked_us_100")),
        less_is_better=True,
    ),
    Row(
        "decision, 1,000 policies",
        "decision_us_1000",
        "µs",
        "≤ 60",
        ((_SCHEMA, "peer_linear_us_1000"), (_PLAIN, "peer_unchecked_us_1000")),
        less_is_better=True,
    ),
    Row(
        "AuthZEN over HTTP, 1,000 policies, recorded",
        "authzen_per_core_s",
        "/core·s",
        "≥ 2 x",
        (("Cerbos, records nothing", "peer_cerbos_per_core_s"),),
    ),
    Row(
        "the same, not recorded",
        "authzen_unrecorded_per_core_s",
        "/core·s",
        "≥ 4 x",
        (("Cerbos", "peer_cerbos_per_core_s"),),
    ),
    Row("AuthZEN, recorded, c=1, p50", "authzen_c1_p50_ms", "ms", ""),
    Row(
        "the same, not recorded",
        "authzen_unrecorded_c1_p50_ms",
        "ms",
        "",
        (("Cerbos", "peer_cerbos_c1_p50_ms"),),
        less_is_better=True,
    ),
    *_decided(
        "SQLite",
        "decided_sqlite",
        "≥ 5,000",
        (
            ("file, fdatasync each", "peer_durable_append_fdatasync_per_s"),
            ("sqlite3, commit each", "peer_durable_sqlite_commit_per_s"),
            ("sqlite3, 256 a commit", "peer_durable_sqlite_batch256_per_s"),
        ),
    ),
    *_decided(
        "PostgreSQL",
        "decided_postgresql",
        "≥ 3,000",
        (
            ("asyncpg, commit each", "peer_durable_asyncpg_commit_per_s"),
            ("asyncpg, 256 a commit", "peer_durable_asyncpg_batch256_per_s"),
        ),
    ),
    Row("log alone, 256 callers", "durable_per_s", "/s", ""),
    Row(
        "token exchanges",
        "exchanges_per_core_s",
        "/core·s",
        "≥ 1,500",
        (
            (_BOUND, "peer_tokens_bound_per_core_s"),
            ("oidc-provider, client secret", "peer_tokens_plain_per_core_s"),
        ),
    ),
    Row("token exchange, c=1, p50", "exchange_p50_ms", "ms", ""),
    Row(
        "token exchange, c=8, p99",
        "exchange_c8_p99_ms",
        "ms",
        "",
        ((_BOUND, "peer_tokens_bound_c8_p99_ms"),),
        less_is_better=True,
    ),
    Row(
        "governed MCP calls",
        "mcp_calls_per_core_s",
        "/core·s",
        "≥ 1,500",
        ((_PROXY, "peer_fastmcp_proxy_calls_per_core_s"),),
    ),
    Row(
        "added to a call, c=1, p50",
        "mcp_added_p50_ms",
        "ms",
        "≤ 2",
        ((_PROXY, "peer_fastmcp_proxy_added_p50_ms"),),
        less_is_better=True,
    ),
    Row("governed call, c=1, p99", "mcp_c1_p99_ms", "ms", ""),
    Row("governed call, c=8, p50", "mcp_c8_p50_ms", "ms", ""),
    Row("governed call, c=8, p99", "mcp_c8_p99_ms", "ms", ""),
)


def table(samples: Samples, figures: Figures) -> str:
    """Markdown: one line for each figure and peer that was asked for."""
    titles = ("what", "actfor", "spread", "target", "peer", "its figure", "ratio")
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for row in ROWS:
        if row.figure not in figures:
            continue
        ours = figures[row.figure]
        spread = f"{samples.spread(row.figure):.0%}" if ours is not None else ""
        front = f"| {row.what} | {_shown(ours, row.unit)} | {spread} | {row.target} |"
        for name, figure in row.peers or (("", ""),):
            theirs = figures.get(figure)
            shown = _shown(theirs, row.unit) if figure else ""
            lines.append(f"{front} {name} | {shown} | {_ratio(ours, theirs, row)} |")
            front = "| | | | |"
    return "\n".join(lines)


def write(machine: str, text: str) -> None:
    """Replace the measured table in the README."""
    readme = README.read_text()
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    README.write_text(f"{before}{BEGIN}\n{machine}:\n\n{text}\n{END}{after}")


def _shown(value: float | None, unit: str) -> str:
    if value is None:
        return "not run"
    return f"{value:,.0f} {unit}" if abs(value) >= 100 else f"{value:.2f} {unit}"


def _ratio(ours: float | None, theirs: float | None, row: Row) -> str:
    if not ours or not theirs:
        return ""
    times = theirs / ours if row.less_is_better else ours / theirs
    return f"{times:.1f} x"
