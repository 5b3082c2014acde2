from __future__ import annotations

import random
import sqlite3
from typing import TYPE_CHECKING

import pytest

from riptide.storage.page_records import FoundMessage, messages_on

if TYPE_CHECKING:
    from pathlib import Path

TIME = 1_700_000_000_000_000_000
BY_PLACE = (
    "CREATE TABLE messages (topic_id INTEGER NOT NULL, sequence INTEGER NOT NULL, accepted_at, "
    "payload BLOB, PRIMARY KEY (topic_id, sequence)) WITHOUT ROWID"
)
BY_POSITION = (
    "CREATE TABLE messages (position INTEGER PRIMARY KEY, topic_id, sequence, accepted_at, "
    "checksum, payload BLOB)"
)


def _pages(file: Path) -> list[bytes]:
    content = file.read_bytes()
    return [content[at : at + 4096] for at in range(0, len(content), 4096)]


@pytest.mark.parametrize("schema", [BY_PLACE, BY_POSITION])
@pytest.mark.parametrize("size", [1, 200, 9000])
def test_every_message_on_the_pages_of_a_table_is_found(
    tmp_path: Path, schema: str, size: int
) -> None:
    file = tmp_path / "x.db"
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA page_size = 4096")
    connection.execute(schema)
    expected = [FoundMessage(n % 3 + 1, n, TIME + n) for n in range(1, 500)]
    connection.executemany(
        "INSERT INTO messages (topic_id, sequence, accepted_at, payload) VALUES (?, ?, ?, ?)",
        [(*message, b"x" * size) for message in expected],
    )
    connection.commit()
    connection.close()
    found = [message for page in _pages(file) for message in messages_on(page)]
    assert sorted(found) == sorted(expected)


def test_pages_of_noise_are_survived() -> None:
    noise = random.Random(1)
    for _ in range(300):
        page = bytearray(noise.randbytes(1024))
        page[0] = noise.choice([0x02, 0x0A, 0x0D, 0x05])
        messages_on(bytes(page))
    assert messages_on(b"") == []
    assert messages_on(b"\x0d" * 9) == []
