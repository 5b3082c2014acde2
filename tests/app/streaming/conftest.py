"""Sessions over pipes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from riptide.streaming.stream_request import StreamRequest
from riptide.streaming.streams import Streams
from tests.app.streaming.pipe import Pipe
from tests.waiting import eventually, in_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from riptide.encoding.formats import Encoding
    from riptide.hub.hub import Hub
    from riptide.streaming.session import StreamSession
    from tests.app.recorder import Recorder


class Opened:
    """A stream that runs: its task, its session and its client."""

    def __init__(self, streams: Streams, pipe: Pipe, task: asyncio.Task[None]) -> None:
        self.pipe = pipe
        self.task = task
        self._streams = streams

    @property
    def session(self) -> StreamSession:
        return next(s for s in self._streams.sessions if s.connection is self.pipe.connection)

    async def ended(self) -> None:
        await in_time(self.task)


class OpenStream:
    """Opens streams of topic ``a``, and waits for their first record."""

    def __init__(self, streams: Streams) -> None:
        self.streams = streams
        self.opened: list[Opened] = []

    async def __call__(
        self,
        after: str | None = None,
        until: str | None = None,
        *,
        encoding: Encoding | None = None,
        pipe: Pipe | None = None,
    ) -> Opened:
        pipe = pipe or (Pipe() if encoding is None else Pipe(encoding))
        opened = Opened(
            self.streams,
            pipe,
            asyncio.create_task(self.streams.serve(pipe, StreamRequest("a", after, until))),
        )
        self.opened.append(opened)
        await eventually(lambda: pipe.frames or opened.task.done())
        return opened


@pytest.fixture
def streams(hub: Hub, recorder: Recorder) -> Streams:
    return Streams(hub, recorder.lifecycle, max_connections=100, retry_s=2)


@pytest.fixture
async def open_stream(streams: Streams) -> AsyncIterator[OpenStream]:
    opener = OpenStream(streams)
    yield opener
    for opened in opener.opened:
        opened.task.cancel()
    await asyncio.gather(*(opened.task for opened in opener.opened), return_exceptions=True)
