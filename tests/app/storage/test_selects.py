"""What is read from the file and from what it does not have yet."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from riptide.storage.damage import Damage
from riptide.storage.message_log import READ_MESSAGES
from riptide.storage.places import Places
from riptide.storage.sqlite_file import SqliteFile
from riptide.storage.topic_list import list_topics
from tests.app.storage.appending import append, end_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from riptide.storage.places import Place
    from riptide.storage.sqlite import SqliteLog


async def test_no_read_keeps_the_write_ahead_log_from_being_reused(
    log: SqliteLog, tmp_path: Path
) -> None:
    await append(log, "a", *[b"1"] * READ_MESSAGES * 2)
    assert len(await log.read("a", 1)) < READ_MESSAGES
    await log.bounds("a")
    await end_of(log, log.epoch, "a")
    await log.topics(["a"])
    with contextlib.closing(SqliteFile(tmp_path).connect()) as connection:
        (is_held, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert not is_held


async def test_places_that_are_written_while_topics_are_listed_are_not_missed(
    log: SqliteLog, tmp_path: Path
) -> None:
    await append(log, "a", b"1", b"2")
    places = log._writer.places
    looked: list[Sequence[Place]] = []

    class Written(Places):
        """Is written to the file, and forgotten, as soon as somebody has looked."""

        def of(self, topic_id: int) -> Sequence[Place]:
            looked.append(places.of(topic_id))
            places.write_some(writing)
            return looked[-1]

    with contextlib.closing(SqliteFile(tmp_path).connect()) as writing:
        reading = SqliteFile(tmp_path).connect()
        assert list_topics(reading, Written(), Damage(), ["a"]) == [("a", (1, 2), log.epoch)]
        reading.close()
    assert [len(newest) for newest in looked] == [2]
