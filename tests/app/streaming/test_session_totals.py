from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from riptide.encoding.formats import NDJSON, WEBSOCKET
from riptide.hub.stream_range import StreamRange
from riptide.message import Edge
from riptide.publication import Publication
from riptide.streaming.streams import Streams
from riptide_telemetry import ConnectionTotals
from tests.app.streaming.conftest import OpenStream
from tests.app.streaming.pipe import Pipe
from tests.waiting import eventually

if TYPE_CHECKING:
    from riptide.hub.hub import Hub
    from tests.app.recorder import Recorder


@pytest.fixture
def open_counted(hub: Hub, recorder: Recorder) -> OpenStream:
    return OpenStream(Streams(hub, recorder.lifecycle, max_connections=9, retry_s=1))


def _is_message(frame: bytes) -> bool:
    return b'"data"' in frame


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("encoding", [NDJSON, WEBSOCKET])
async def test_the_totals_are_those_of_all_messages_however_they_were_written(
    hub: Hub, open_counted: OpenStream, recorder: Recorder, encoding: Any, *, direct: bool
) -> None:
    await hub.publish(Publication.now("a", [b"1", b"22"]))
    opened = await open_counted("earliest", pipe=Pipe(encoding, direct=direct))
    # At once; then one that is fanned out, or woken for.
    await eventually(lambda: opened.session._subscription.sent == 2)
    await hub.publish(Publication.now("a", [b"333"]))
    await eventually(lambda: opened.session._subscription.sent == 3)
    opened.pipe.vanish()
    await opened.ended()
    messages = [encoding.encode_message(m) for m in await hub._log.read("a", 0)]
    assert recorder.of("connection_closed", "totals") == [
        (ConnectionTotals(3, 0, sum(map(len, messages))),)
    ]


async def test_streams_on_one_connection_add_up(
    hub: Hub, open_counted: OpenStream, recorder: Recorder
) -> None:
    await hub.publish(Publication.now("a", [b"1"]))
    opened = await open_counted("earliest", pipe=Pipe(WEBSOCKET))
    await eventually(lambda: opened.session._subscription.sent == 1)
    opened.pipe.say(StreamRange(Edge.EARLIEST, finite=False))
    await eventually(lambda: sum(map(_is_message, opened.pipe.frames)) == 2)
    opened.pipe.vanish()
    await opened.ended()
    ((totals,),) = recorder.of("connection_closed", "totals")
    assert totals.sent == 2
    frames = [frame for frame in opened.pipe.frames if _is_message(frame)]
    assert totals.size_bytes == sum(map(len, frames))
