from __future__ import annotations

import errno
import sqlite3
from typing import TYPE_CHECKING

import pytest

from riptide.errors import DamagedMessagesError
from riptide.storage.damage import Damage
from riptide.storage.message_log import Retention
from riptide.storage.sqlite import SqliteLog
from tests.app.storage.appending import append
from tests.app.storage.damaging import flip_in

if TYPE_CHECKING:
    from pathlib import Path


def test_damaged_messages_are_counted_and_logged_with_their_topic_and_numbers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    damage = Damage()
    damage.found("orders", 5, 7)
    damage.found("orders", 5, 7)
    assert damage.unreadable_messages == 6
    assert caplog.text.count("topic orders, 5 to 7") == 1


def test_nothing_is_damaged_as_long_as_the_disk_gives_nothing_at_all(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def failing() -> None:
        raise OSError(errno.EIO, "Input/output error")

    damage = Damage(failing)
    with pytest.raises(sqlite3.OperationalError, match="Input/output error"):
        damage.found("orders", 5, 7)
    assert (damage.unreadable_messages, caplog.text) == (0, "")


async def test_a_log_counts_what_it_did_not_deliver(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path, Retention(1000, 3600))
    await log.open()
    await append(log, "a", b'"first"', b'"second"', b'"third"')
    await log.close()
    flip_in(tmp_path / "riptide.db", b'"second"', 3)
    log = SqliteLog(tmp_path, Retention(1000, 3600))
    await log.open()
    # The check at the start has found it.
    assert log.damage.unreadable_messages == 1
    assert [message.payload for message in await log.read("a", 0)] == [b'"first"']
    with pytest.raises(DamagedMessagesError) as error:
        await log.read("a", 1)
    assert (error.value.first, error.value.last) == (2, 2)
    assert [message.payload for message in await log.read("a", 2)] == [b'"third"']
    assert log.damage.unreadable_messages == 2
    await log.close()
