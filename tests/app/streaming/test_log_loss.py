from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from riptide.publication import Publication
from riptide.streaming.log_loss import LogLoss
from riptide_telemetry import CloseReason
from tests.waiting import eventually, time_flies, turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from riptide.hub.hub import Hub
    from riptide.storage.memory import MemoryLog
    from riptide.streaming.streams import Streams
    from tests.app.recorder import Recorder
    from tests.app.streaming.conftest import OpenStream

LIMIT_S = 30.0


@pytest.fixture(autouse=True)
async def _looking(streams: Streams, log: MemoryLog) -> AsyncIterator[None]:
    with time_flies():
        loss = LogLoss(streams, log, limit_s=LIMIT_S, window_s=10)
        task = asyncio.create_task(loss.run())
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_streams_end_with_their_cursor_and_a_retry_once_the_log_is_lost_for_too_long(
    open_stream: OpenStream, log: MemoryLog, hub: Hub, recorder: Recorder
) -> None:
    opened = [await open_stream() for _ in range(3)]
    receipt = await hub.publish(Publication.now("a", [b"1"]))
    log.connection.lost_s = LIMIT_S + 1
    await eventually(lambda: len(recorder.closed) == 3)
    assert recorder.closed == [CloseReason.LOG_FAILURE] * 3
    for stream in opened:
        end = stream.pipe.records()[-1]
        assert (end["event"], end["reason"]) == ("end", "log_failure")
        assert (end["id"], end["reconnect"]) == (str(receipt.last), True)
        assert isinstance(end["retry"], int)


async def test_streams_stay_until_then(
    open_stream: OpenStream, log: MemoryLog, recorder: Recorder
) -> None:
    await open_stream()
    log.connection.lost_s = LIMIT_S
    await turns(1000)
    assert recorder.closed == []


async def test_a_stream_that_is_opened_later_ends_as_well(
    open_stream: OpenStream, log: MemoryLog, recorder: Recorder
) -> None:
    log.connection.lost_s = LIMIT_S + 1
    for number in range(1, 3):
        await open_stream()
        await eventually(lambda: len(recorder.closed) == number)  # noqa: B023  # in this turn


async def test_a_log_that_is_there_again_leaves_the_streams_that_are_left_alone(
    open_stream: OpenStream, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        await open_stream()
    looks = 0

    def is_lost(_: LogLoss) -> bool:
        nonlocal looks
        looks += 1
        # The look that finds the loss, and one before the first stream.
        return looks <= 2

    monkeypatch.setattr(LogLoss, "_is_lost", is_lost)
    await eventually(lambda: looks > 10)
    assert recorder.closed == [CloseReason.LOG_FAILURE]
