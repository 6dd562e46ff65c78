"""What a disk and a driver can do: the floors under the durable-record benchmark.

Each writes the same record as ours does, keeps a SHA-256 chain over the records, and counts a
record only when it is on disk. None has a tree, a signature, personal data kept apart, or callers.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import asyncpg

Floor = Callable[[Path, bytes, float], float]


def append_fdatasync(folder: Path, record: bytes, seconds: float) -> float:
    """Append to a file and ``fdatasync`` each record. Records per second."""
    sync = getattr(os, "fdatasync", os.fsync)
    handle = os.open(folder / "floor.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        chain, done, started = b"", 0, time.perf_counter()
        while time.perf_counter() < started + seconds:
            chain = sha256(chain + record).digest()
            os.write(handle, record + chain)
            sync(handle)
            done += 1
        return done / (time.perf_counter() - started)
    finally:
        os.close(handle)


def sqlite_commit(folder: Path, record: bytes, seconds: float) -> float:
    """The bare driver, WAL and ``synchronous=FULL``, one record in each commit."""
    return _sqlite(folder, record, seconds, batch=1)


def sqlite_batch(folder: Path, record: bytes, seconds: float) -> float:
    """The bare driver, 256 records in each commit: group commit without anyone to answer."""
    return _sqlite(folder, record, seconds, batch=256)


def _sqlite(folder: Path, record: bytes, seconds: float, *, batch: int) -> float:
    with closing(sqlite3.connect(folder / f"floor-{batch}.db", isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.execute("CREATE TABLE leaf (seq INTEGER PRIMARY KEY, body BLOB, hash BLOB)")
        chain, done, started = b"", 0, time.perf_counter()
        while time.perf_counter() < started + seconds:
            database.execute("BEGIN IMMEDIATE")
            for _ in range(batch):
                chain = sha256(chain + record).digest()
                done += 1
                database.execute("INSERT INTO leaf VALUES (?, ?, ?)", (done, record, chain))
            database.execute("COMMIT")
        return done / (time.perf_counter() - started)


def asyncpg_commit(url: str, record: bytes, seconds: float) -> float:
    """The bare driver, one connection, one record in each commit."""
    return asyncio.run(_asyncpg(url, record, seconds, batch=1))


def asyncpg_batch(url: str, record: bytes, seconds: float) -> float:
    """The bare driver, 256 records in each commit, sent together."""
    return asyncio.run(_asyncpg(url, record, seconds, batch=256))


async def _asyncpg(url: str, record: bytes, seconds: float, *, batch: int) -> float:
    database = await asyncpg.connect(url)
    try:
        table = f"floor_{batch}"
        await database.execute(
            f"CREATE TABLE {table} (seq BIGINT PRIMARY KEY, body BYTEA, hash BYTEA)"
        )
        insert = await database.prepare(f"INSERT INTO {table} VALUES ($1, $2, $3)")  # noqa: S608 - a number of ours
        chain, done, started = b"", 0, time.perf_counter()
        while time.perf_counter() < started + seconds:
            rows = []
            for _ in range(batch):
                chain = sha256(chain + record).digest()
                done += 1
                rows.append((done, record, chain))
            if batch == 1:
                await insert.fetch(*rows[0])
            else:
                await insert.executemany(rows)
        return done / (time.perf_counter() - started)
    finally:
        await database.close()


POSTGRES_FLOORS: dict[str, Callable[[str, bytes, float], float]] = {
    "peer_durable_asyncpg_commit_per_s": asyncpg_commit,
    "peer_durable_asyncpg_batch256_per_s": asyncpg_batch,
}

FLOORS: dict[str, Floor] = {
    "peer_durable_append_fdatasync_per_s": append_fdatasync,
    "peer_durable_sqlite_commit_per_s": sqlite_commit,
    "peer_durable_sqlite_batch256_per_s": sqlite_batch,
}
