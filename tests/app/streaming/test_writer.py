from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from riptide.encoding.formats import NDJSON
from riptide.streaming.writer import Writer
from tests.app.streaming.pipe import Pipe
from tests.waiting import eventually, in_time, turns

if TYPE_CHECKING:
    from tests.app.recorder import Recorder


@pytest.fixture
async def pipe() -> Pipe:
    return Pipe(NDJSON, direct=True)


@pytest.fixture
async def writer(pipe: Pipe, recorder: Recorder) -> Writer:
    return Writer(pipe, recorder.lifecycle, "a")


async def test_data_goes_through_the_outlet_or_past_it_to_the_socket(
    writer: Writer, pipe: Pipe
) -> None:
    before = writer.last_write_ns
    assert await writer.write(b"frame\n")
    assert await writer.write_directly(b"data\n")
    assert (pipe.frames, pipe.transport.written) == ([b"frame\n"], [b"data\n"])
    assert writer.last_write_ns > before


async def test_a_write_that_waits_for_the_client_can_be_seen_and_is_timed(
    writer: Writer, pipe: Pipe, recorder: Recorder
) -> None:
    pipe.stop_taking()
    assert not writer.has_room
    writing = asyncio.create_task(writer.write_directly(b"data\n"))
    await eventually(lambda: writer.blocked_since_ns is not None)
    assert recorder.of("write_stalled", "connection_id") == [("a",)]
    assert recorder.of("write_blocked") == []
    pipe.take_again()
    assert await writing
    assert writer.blocked_since_ns is None
    ((connection_id, seconds),) = recorder.of("write_blocked", "connection_id", "seconds")
    assert connection_id == "a"
    assert seconds > 0


async def test_what_has_room_waits_for_nobody(writer: Writer, recorder: Recorder) -> None:
    assert writer.has_room
    await writer.wait_for_room()
    assert recorder.names() == []


@pytest.mark.parametrize("direct", [True, False])
async def test_nothing_is_written_to_a_client_that_is_gone(
    writer: Writer, pipe: Pipe, *, direct: bool
) -> None:
    pipe.vanish()
    before = writer.last_write_ns
    assert not await (writer.write_directly if direct else writer.write)(b"x\n")
    assert pipe.frames == pipe.transport.written == []
    assert writer.last_write_ns == before


@pytest.mark.parametrize("direct", [True, False])
async def test_a_client_that_goes_while_it_is_waited_for_got_nothing(
    writer: Writer, pipe: Pipe, *, direct: bool
) -> None:
    pipe.stop_taking()
    write = writer.write_directly if direct else writer.write
    writing = asyncio.create_task(write(b"x\n"))
    await turns()
    pipe.vanish()
    assert not await in_time(writing)
    assert writer.blocked_since_ns is None
