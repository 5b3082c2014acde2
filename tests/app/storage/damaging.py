"""Damages files of a log, as disks and memory do."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def flip(file: Path, offset: int, bit: int = 0) -> None:
    """Flip one bit."""
    with file.open("r+b") as damaged:
        damaged.seek(offset)
        byte = damaged.read(1)[0]
        damaged.seek(offset)
        damaged.write(bytes([byte ^ 1 << bit]))


def flip_in(file: Path, content: bytes, bit: int = 0) -> None:
    """Flip a bit in the only place that has this content."""
    held = file.read_bytes()
    assert held.count(content) == 1
    flip(file, held.index(content), bit)


def break_page_with(file: Path, content: bytes) -> None:
    """Make the page unreadable that has this content."""
    with sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True) as connection:
        (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    held = file.read_bytes()
    assert held.count(content) == 1
    start = held.index(content) // page_bytes * page_bytes
    with file.open("r+b") as damaged:
        damaged.seek(start)
        damaged.write(b"\xff" * 8)


def break_table(file: Path, table: str, leaf: int = 0) -> None:
    """Make one of the pages unreadable that have the rows of a table, counted from the first."""
    with sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True) as connection:
        (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
        pages = connection.execute(
            "SELECT pageno FROM dbstat WHERE name = ? AND pagetype = 'leaf' ORDER BY path", (table,)
        ).fetchall()
    connection.close()
    with file.open("r+b") as damaged:
        damaged.seek((pages[leaf][0] - 1) * page_bytes)
        damaged.write(b"\xff" * 8)
