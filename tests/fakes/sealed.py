"""What stands in a database, and what somebody finds who looks at its bytes."""

import json
import zipfile
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import update

from actfor.keys import MARK, Texts
from actfor.server import personal
from actfor.store import Tx, metadata
from actfor.store import snapshot as store


def needles(marker: str) -> list[bytes]:
    """A text in every spelling that a file might hold it in."""
    plain = [marker.encode(code) for code in ("utf-8", "utf-16-le", "utf-16-be")]
    escaped = json.dumps(marker)[1:-1].encode()
    found = {*plain, escaped, escaped.replace(b"\\u", b"\\\\u")}
    for text in (*plain, escaped):
        found.add(text.hex().encode())  # as `bytea` is written out
        for shift in range(3):  # base64 of something that it stands in the middle of
            cut = b64encode(bytes(shift) + text + bytes(3))
            start = (0, 2, 3)[shift]
            inner = cut[start : (shift + len(text)) * 4 // 3]
            found |= {inner, inner.replace(b"+", b"-").replace(b"/", b"_")}
    return sorted(found)


def found_in(folder: Path, markers: list[str]) -> list[str]:
    """Files (and members of backups) that hold one of the markers, and which."""
    wanted = [(marker, needle) for marker in markers for needle in needles(marker)]
    return [
        f"{name}: {marker} as {needle!r}"
        for name, content in _contents(folder)
        for marker, needle in wanted
        if needle in content
    ]


def _contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")) if folder.is_dir() else [folder]:
        if path.is_file():
            yield path.name, path.read_bytes()
            if zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as archive:
                    for name in archive.namelist():
                        yield f"{path.name}/{name}", archive.read(name)


def values(tx: Tx) -> Iterator[tuple[str, str, str]]:
    """Column, row and value of every text that is of a person, as it stands."""
    for table in store.tables():
        wanted = personal.SEALED.get(table.name, {})
        keys = [key.name for key in table.primary_key.columns]
        for row in store.rows(tx, table) if wanted else ():
            has = dict(zip(table.columns.keys(), row, strict=True))
            for column in wanted:
                if has[column]:
                    at = "/".join(str(has[key]) for key in keys)
                    yield f"{table.name}.{column}", at, has[column]


def in_clear(tx: Tx) -> list[str]:
    """Columns in which personal text stands in clear."""
    return [
        f"{table.name}.{column}"
        for table in store.tables()
        for row in store.rows(tx, table)
        for column in personal.in_clear(table.name, table.columns.keys(), row)
    ]


def unseal(tx: Tx, texts: Texts) -> None:
    """Put every text in clear into its place, as an older release left it."""
    for column, row, value in [*values(tx)]:
        put_in_clear(tx, texts, column, row, value)


def put_in_clear(tx: Tx, texts: Texts, column: str, row: str, value: str) -> None:
    table, _, name = column.partition(".")
    of = metadata.tables[table]
    (key,) = of.primary_key.columns
    put = update(of).where(key == row).values({name: texts.open(tx, column, row, value)})
    tx.changed(put)


def opened(tx: Tx, texts: Texts) -> dict[str, list[str]]:
    """What opens, by column."""
    found: dict[str, list[str]] = {}
    for column, row, value in values(tx):
        assert value.startswith(MARK), column
        text = texts.open(tx, column, row, value)
        if text is not None:
            found.setdefault(column, []).append(text)
    return found
