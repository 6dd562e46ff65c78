"""The small company the demo governs: a git repository, a customer database, an agent."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

CUSTOMERS = (
    (1, "Ada Byron", "ada@analytical.example", "active"),
    (2, "Grace Hopper", "grace@compiler.example", "active"),
    (3, "Alan Turing", "alan@bletchley.example", "closed"),
    (4, "Katherine Johnson", "katherine@orbit.example", "active"),
)


@dataclass(frozen=True, slots=True)
class World:
    """Where the pieces lie."""

    root: Path

    @property
    def data(self) -> Path:
        """The server's data folder."""
        return self.root / "data"

    @property
    def repository(self) -> Path:
        """A git repository with two commits."""
        return self.root / "handbook"

    @property
    def customers(self) -> Path:
        """A SQLite database with four customers."""
        return self.root / "customers.db"

    @property
    def agent(self) -> Path:
        """The agent's code tree."""
        return self.root / "bookkeeper"

    def customer_ids(self) -> list[int]:
        """Who is still in the database: read from the file, not through the gateway."""
        with closing(sqlite3.connect(self.customers)) as connection:
            return [row[0] for row in connection.execute("SELECT id FROM customers ORDER BY id")]

    def notes(self) -> list[str]:
        """The notes in the database, read from the file."""
        with closing(sqlite3.connect(self.customers)) as connection:
            return [row[0] for row in connection.execute("SELECT text FROM notes ORDER BY id")]


def build(root: Path) -> World:
    """Make a fresh world in ``root``; whatever an earlier demo left there is removed."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    world = World(root)
    _customers(world.customers)
    _repository(world.repository)
    shutil.copytree(
        Path(__file__).parent / "agent",
        world.agent,
        ignore=shutil.ignore_patterns("__pycache__", "__init__.py"),
    )
    return world


def _customers(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, email TEXT, state TEXT);"
            "CREATE TABLE notes (id INTEGER PRIMARY KEY, customer INTEGER, text TEXT);"
        )
        connection.executemany("INSERT INTO customers VALUES (?, ?, ?, ?)", CUSTOMERS)
        connection.commit()


def _repository(path: Path) -> None:
    path.mkdir()
    (path / "retention.md").write_text("Closed accounts are deleted after ninety days.\n")
    git = [
        "git",
        "-C",
        str(path),
        "-c",
        "user.name=Grace",
        "-c",
        "user.email=grace@compiler.example",
    ]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "--quiet", "-m", "Say when accounts are deleted"], check=True)
    (path / "tone.md").write_text("Write to customers as you would to a friend.\n")
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "--quiet", "-m", "Say how we write"], check=True)
