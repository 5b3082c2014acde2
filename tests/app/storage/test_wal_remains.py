"""What a recovery leaves behind is said and kept, and is not said again."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from riptide.storage import wal_remains
from riptide.storage.backup import back_up
from riptide.storage.sqlite import SqliteLog
from riptide.storage.wal_remains import kept_files
from tests.app.storage.appending import append
from tests.app.storage.crash_images import FOR_EVER, copy_log, make_crash_image, payload
from tests.app.storage.damaging import flip
from tests.app.storage.test_wal_frames import Wal

if TYPE_CHECKING:
    from pathlib import Path


async def _opened(image: Path) -> SqliteLog:
    log = SqliteLog(image, FOR_EVER)
    await log.open()
    return log


@pytest.fixture
async def image(tmp_path: Path) -> Path:
    """A crash image of a log with six commits of two messages to each of two topics.

    A message takes more than a page, so that each commit has several frames.
    """
    image = tmp_path / "image"
    await make_crash_image(tmp_path / "log", image, 6, topics=("a", "b"), size=5_000)
    return image


async def test_messages_behind_a_damaged_frame_are_named_with_their_topics_numbers_and_times(
    image: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wal = Wal(image / "riptide.db-wal")
    # The last four commits are the messages 9 to 12 of both topics.
    flip(wal.path, wal.offset(wal.commits[-4]) + 500)
    before = wal.path.read_bytes()
    log = await _opened(image)
    assert [message.sequence for message in await log.read("a", 0)] == list(range(1, 9))
    assert log.damage.lost_frames == wal.count - wal.commits[-5] - 1
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    text = record.getMessage()
    assert "topic a: 4, 9 to 12, accepted 20" in text
    assert "topic b: 4, 9 to 12, accepted 20" in text
    (kept,) = kept_files(image)
    assert str(kept) in text
    assert kept.read_bytes() == before[:32] + before[wal.offset(wal.commits[-5] + 1) :]
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert await append(log, "a", payload("a", 9)) == 9
    # The next crash finds nothing of it.
    copy_log(image, image.with_name("second"))
    await log.close()
    caplog.clear()
    log = await _opened(image.with_name("second"))
    assert (log.damage.lost_frames, caplog.text) == (0, "")
    assert len(await log.read("a", 0)) == 9
    await log.close()


async def test_a_commit_that_was_broken_off_is_a_warning_and_no_loss(
    image: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wal = Wal(image / "riptide.db-wal")
    with wal.path.open("r+b") as file:
        file.truncate(wal.offset(wal.commits[-1]))
    log = await _opened(image)
    assert log.damage.lost_frames == 0
    (record,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert "the last commit in the write-ahead log has no end" in record.getMessage()
    assert len(kept_files(image)) == 1
    await log.close()


async def test_a_crash_without_damage_and_a_clean_start_say_nothing(
    image: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        log = await _opened(image)
        assert len(await log.read("b", 0)) == 12
        await log.close()
    assert (caplog.text, kept_files(image)) == ("", [])


async def test_no_more_files_are_kept_than_a_disk_can_bear(
    image: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wal_remains, "KEPT_FILES", 2)
    for number in range(3):
        copy_log(image, image.with_name(str(number)))
        source = Wal(image.with_name(str(number)) / "riptide.db-wal")
        flip(source.path, source.offset(source.commits[-1]) + 500)
        target = image.with_name("used")
        target.mkdir(exist_ok=True)
        for file in source.path.parent.iterdir():
            file.rename(target / file.name)
        log = await _opened(target)
        await log.close()
    assert len(kept_files(image.with_name("used"))) == 2
    assert "there are 2 files riptide.db-wal.left-* already" in caplog.text


async def test_remains_that_cannot_be_kept_are_said_all_the_same(
    image: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    wal = Wal(image / "riptide.db-wal")
    flip(wal.path, wal.offset(wal.commits[-1]) + 500)

    def fail(_path: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(wal_remains, "adopt", fail)
    log = await _opened(image)
    assert "they could not be kept (Operation not permitted)" in caplog.text
    assert kept_files(image) == []
    await log.close()


async def test_a_backup_after_a_crash_leaves_it_to_the_start_to_report_the_damage(
    image: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wal = Wal(image / "riptide.db-wal")
    flip(wal.path, wal.offset(wal.commits[-4]) + 500)
    back_up(image, image.with_name("backup"))
    log = await _opened(image)
    assert log.damage.lost_frames > 0
    assert "topic a: 4, 9 to 12" in caplog.text
    await log.close()
