"""The copy of an older log into a file of this version, and what interrupts it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import TYPE_CHECKING

import pytest

from riptide.errors import DamagedMessagesError, DataDirectoryError
from riptide.storage import upgrade
from riptide.storage.message_log import Retention
from riptide.storage.schema import LAST_BY_TOPIC
from riptide.storage.sqlite import SqliteLog
from tests.app.storage.old_logs import FAR_FUTURE_NS, OLD_EPOCH, make_old
from tests.small_disk import mounted

if TYPE_CHECKING:
    from pathlib import Path

TOPICS, EACH = 3, 50


class KilledError(BaseException):
    """The process ends here."""


def _make_old(directory: Path) -> None:
    """Make a log of the last older version with several topics."""
    file = make_old(directory, LAST_BY_TOPIC)
    with contextlib.closing(sqlite3.connect(file.path)) as old:
        for topic in range(2, TOPICS + 2):
            old.execute("INSERT INTO topics VALUES (?, ?, ?)", (topic, f"t{topic}", EACH))
            old.execute("INSERT INTO beginnings VALUES (?, 1, 1)", (topic,))
            old.executemany(
                "INSERT INTO messages VALUES (?, ?, ?, ?, NULL)",
                [(topic, n, FAR_FUTURE_NS, b"%d" % n) for n in range(1, EACH + 1)],
            )
        old.commit()


async def _check_all_there(directory: Path) -> None:
    log = SqliteLog(directory, Retention(1000, 3600))
    await log.open()
    for topic in range(2, TOPICS + 2):
        messages = await log.read(f"t{topic}", 0)
        assert [m.payload for m in messages] == [b"%d" % n for n in range(1, EACH + 1)]
        assert {m.epoch for m in messages} == {OLD_EPOCH}
    assert len(await log.read("a", 0)) == 3
    await log.close()
    assert not [name for name in os.listdir(directory) if "upgrade" in name]  # noqa: PTH208  # names only


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upgrade, "CHUNK_MESSAGES", 7)


async def test_the_copy_can_give_room_back_to_the_disk_like_a_new_log(tmp_path: Path) -> None:
    _make_old(tmp_path)
    await _check_all_there(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / "riptide.db")) as new:
        assert new.execute("PRAGMA auto_vacuum").fetchone() == (2,)


async def test_a_copy_that_was_killed_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _make_old(tmp_path)
    before = (tmp_path / "riptide.db").read_bytes()
    insert, inserted = upgrade._insert, 0

    def killed_now_and_then(*arguments: object) -> None:
        nonlocal inserted
        insert(*arguments)  # type: ignore[arg-type]  # passed on as they came
        inserted += 1
        if inserted % 3 == 0:
            raise KilledError

    monkeypatch.setattr(upgrade, "_insert", killed_now_and_then)
    kills = 0
    while True:
        log = SqliteLog(tmp_path, Retention(1000, 3600))
        try:
            await log.open()
        except KilledError:
            kills += 1
            assert (tmp_path / "riptide.db").read_bytes() == before
            await log.close()
        else:
            await log.close()
            break
    chunks = -(-(TOPICS * EACH + 3) // 7)
    assert inserted == chunks
    assert kills == chunks // 3
    await _check_all_there(tmp_path)


async def test_a_copy_of_a_log_that_was_used_since_is_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _make_old(tmp_path)

    def killed(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(upgrade, "sync", killed)
        log = SqliteLog(tmp_path, Retention(1000, 3600))
        with pytest.raises(KilledError):
            await log.open()
        await log.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "riptide.db")) as old:
        old.execute("INSERT INTO lives VALUES (2, 'ffffffff')")
        old.execute("DELETE FROM messages WHERE topic_id = 1 AND sequence = 1")
        old.commit()
    log = SqliteLog(tmp_path, Retention(1000, 3600))
    await log.open()
    assert [m.sequence for m in await log.read("a", 0)] == [2, 3]
    await log.close()


async def test_a_log_behind_a_link_is_upgraded_where_it_is_and_is_locked_as_before(
    tmp_path: Path,
) -> None:
    real, data = tmp_path / "real", tmp_path / "data"
    _make_old(real)
    data.mkdir()
    (data / "riptide.db").symlink_to(real / "riptide.db")
    log = SqliteLog(data, Retention(1000, 3600))
    await log.open()
    assert (data / "riptide.db").is_symlink()
    with pytest.raises(DataDirectoryError, match="in use by another Riptide process"):
        await SqliteLog(real, Retention(1000, 3600)).open()
    assert log.unavailable_reason() is None
    await log.close()
    await _check_all_there(real)


async def test_a_log_that_somebody_reads_is_not_replaced_while_they_do(tmp_path: Path) -> None:
    _make_old(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / "riptide.db")) as old:
        old.execute("PRAGMA wal_autocheckpoint = 0")
        old.execute("INSERT INTO topics VALUES (9, 'z', 0)")
        old.commit()
        with contextlib.closing(
            sqlite3.connect(tmp_path / "riptide.db", isolation_level=None)
        ) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM topics").fetchone()
            old.execute("UPDATE topics SET head = 0 WHERE id = 9")
            old.commit()
            log = SqliteLog(tmp_path, Retention(1000, 3600))
            with pytest.raises(DataDirectoryError, match="another program"):
                await log.open()
            await log.close()
    await _check_all_there(tmp_path)


async def test_a_disk_without_room_for_the_copy_is_named_and_the_log_left_as_it_was(
    tmp_path: Path,
) -> None:
    with mounted(tmp_path / "data", 2 * 1024 * 1024) as disk:
        _make_old(disk.directory)
        filler = disk.directory / "of-another-program"
        status = os.statvfs(disk.directory)
        filler.write_bytes(b"x" * (status.f_bavail * status.f_frsize - 65536))
        log = SqliteLog(disk.directory, Retention(1000, 3600))
        with pytest.raises(DataDirectoryError, match="has no room for the copy"):
            await log.open()
        await log.close()
        filler.unlink()
        await _check_all_there(disk.directory)


async def test_a_message_that_has_no_form_of_one_any_more_is_damaged_after_the_upgrade(
    tmp_path: Path,
) -> None:
    file = make_old(tmp_path, 4)
    with contextlib.closing(sqlite3.connect(file.path)) as old:
        old.execute("UPDATE messages SET payload = CAST('{2' AS BLOB) WHERE sequence = 2")
        old.commit()
    log = SqliteLog(tmp_path, Retention(1000, 3600))
    await log.open()
    assert [message.payload for message in await log.read("a", 0)] == [b"1"]
    with pytest.raises(DamagedMessagesError) as damage:
        await log.read("a", 1)
    assert (damage.value.first, damage.value.last) == (2, 2)
    assert [message.payload for message in await log.read("a", 2)] == [b"3"]
    await log.close()
