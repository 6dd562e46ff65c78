"""How the log grows: a table by size, from ten thousand leaves on, and one line of JSON.

    python -m bench.growth [--leaves N] [--quick] [--folder FOLDER]

The leaves are made by the product's own append, many in each unit; at 10^4, 10^5, … and N leaves it
measures what a person or the next decision then pays: a decision's record (64 callers), a signed
checkpoint, a receipt, a search, the check at start, the whole verification; and how large the
process and the files are. Nothing is extrapolated. A folder that is given is kept, and its log
grown further the next time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from actfor.audit import AuditLog, NoteSigner
from actfor.keys import Vault
from actfor.keys.kek.file import FileKek
from actfor.store import Database, Tx
from bench.durable import _fill, _percentile, event, now
from bench.harness import note, scratch

UNIT = 500
COLUMNS = (
    "leaves", "append_per_s", "append_cpu_us", "record_p50_ms", "record_p99_ms", "checkpoint_ms",
    "receipt_ms", "search_ms", "start_ms", "start_cpu_ms", "verify_s", "verify_cpu_us_per_leaf",
    "rss_mb", "database_mb",
)  # fmt: skip


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    parser.add_argument("--leaves", type=int, default=1_000_000, help="how far")
    parser.add_argument("--quick", action="store_true", help="to 30,000 leaves: some seconds")
    parser.add_argument("--folder", type=Path, help="where the log is kept, or goes on")
    options = parser.parse_args()
    last = 30_000 if options.quick else options.leaves
    sizes = sorted({10**n for n in range(4, 9) if 10**n < last} | {last})
    with tempfile.TemporaryDirectory(dir=scratch()) as folder:
        rows = asyncio.run(_grow(options.folder or Path(folder), sizes))
    titles = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|"
    lines = ["| " + " | ".join(f"{row[name]:,.5g}" for name in COLUMNS) + " |" for row in rows]
    note("\n".join([titles, *lines]))
    print(json.dumps(rows))


async def _grow(folder: Path, sizes: list[int]) -> list[dict[str, float]]:
    url = f"sqlite:///{folder}/log.db"
    database = Database.open(url, clock=now, create_all=True)
    signer, vault = _signer(folder / "log.key"), Vault(FileKek.open(folder / "kek.key"))
    audit = AuditLog(database, signer, "bench.example", now, vault)
    rows = []
    try:
        before = (await audit.head()).size
        for size in [size for size in sizes if size > before] or [before]:
            note(f"growing to {size:,}")
            began, cpu, before = *_clocks(), (await audit.head()).size
            for start in range(before, size, UNIT):
                await database.write(partial(_append, audit, start, min(start + UNIT, size)))
                if start % 50_000 == 0:
                    await audit.checkpoint()
            more = max(size - before, 1)
            took, spent = (end - start for start, end in zip((began, cpu), _clocks(), strict=True))
            paid = await _paid(database, audit, folder)
            grown = {"append_per_s": more / took, "append_cpu_us": spent / more * 1e6}
            rows.append({"leaves": size, **grown, **paid})
            note(json.dumps(rows[-1]))
    finally:
        await database.close()
    return rows


def _signer(kept: Path) -> NoteSigner:
    if not kept.exists():
        kept.write_text(NoteSigner.generate("bench.example").to_text())
    return NoteSigner.from_text(kept.read_text())


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _append(audit: AuditLog, start: int, end: int, tx: Tx) -> None:
    for n in range(start, end):
        audit.append(tx, event(f"dec_{n:024d}"))


async def _paid(database: Database, audit: AuditLog, folder: Path) -> dict[str, float]:
    size = (await audit.head()).size
    figures = {"checkpoint_ms": await _ms(audit.checkpoint)}
    figures["receipt_ms"] = await _ms(lambda: audit.prove(size // 3))
    figures["search_ms"] = await _ms(lambda: audit.search(limit=50, type="decide"))
    cpu = time.process_time()
    figures["start_ms"] = await _ms(audit.start)
    figures["start_cpu_ms"] = (time.process_time() - cpu) * 1000
    began, cpu = _clocks()
    report = await audit.verify()
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    if not report.ok:
        sys.exit(f"the log does not verify: {report.problems[:3]}")
    figures |= {"verify_s": took, "verify_cpu_us_per_leaf": cpu / size * 1e6}
    latencies = await _fill(database, audit, 1.0, callers=64)
    figures["record_p50_ms"] = _percentile(latencies, 0.5)
    figures["record_p99_ms"] = _percentile(latencies, 0.99)
    figures["rss_mb"] = psutil.Process().memory_info().rss / 2**20
    figures["database_mb"] = _bytes(folder) / 2**20
    return figures


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("log.db*"))


async def _ms(what: Callable[[], Awaitable[Any]]) -> float:
    began = time.perf_counter()
    await what()
    return (time.perf_counter() - began) * 1000


if __name__ == "__main__":
    main()
