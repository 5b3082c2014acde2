"""One end of a connection: what is sent together, before it, and to whom does not read."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Any

from riptide.storage.shared import frames, link
from riptide.storage.shared.link import Link
from tests.waiting import eventually, turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest


class Writes(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.ended = ""

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return bool(self.ended)

    def close(self) -> None:
        self.ended = "closed"

    def abort(self) -> None:
        self.ended = "aborted"


def _link() -> Link:
    return Link(lambda _body: None)


def _unfollow(*topics: str) -> bytes:
    """Return what is sent of frames that are sent in one turn."""
    return frames.packet([frames.Unfollow(topic) for topic in topics])


async def test_frames_of_one_turn_are_one_write() -> None:
    one, transport = _link(), Writes()
    one.connection_made(transport)
    for topic in "abc":
        one.send(frames.Unfollow(topic))
    assert transport.writes == []
    await turns(2)
    one.send_packet(_unfollow("d"))
    await turns(2)
    assert transport.writes == [_unfollow("a", "b", "c"), _unfollow("d")]


async def test_frames_and_packets_keep_their_order() -> None:
    one, transport = _link(), Writes()
    one.connection_made(transport)
    one.send(frames.Unfollow("a"))
    one.send(frames.Unfollow("b"))
    one.send_packet(_unfollow("c"))
    one.send_packet(_unfollow("d"))
    one.send(frames.Unfollow("e"))
    await turns(2)
    in_order = [_unfollow("a", "b"), _unfollow("c"), _unfollow("d"), _unfollow("e")]
    assert transport.writes == [b"".join(in_order)]


async def test_what_is_sent_before_there_is_a_connection_is_sent_with_it() -> None:
    one, transport = _link(), Writes()
    one.send(frames.Unfollow("a"))
    await turns(2)
    one.send(frames.Unfollow("b"))
    one.connection_made(transport)
    await turns(2)
    one.send(frames.Unfollow("c"))
    await turns(2)
    assert transport.writes == [_unfollow("a", "b"), _unfollow("c")]


async def test_an_end_that_is_closed_sends_first_and_nothing_later() -> None:
    one, transport = _link(), Writes()
    one.connection_made(transport)
    one.send(frames.Unfollow("a"))
    one.close()
    assert (transport.writes, transport.ended) == ([_unfollow("a")], "closed")
    one.send(frames.Unfollow("b"))
    await turns(2)
    assert transport.writes == [_unfollow("a")]
    one.connection_lost(None)
    one.send(frames.Unfollow("c"))
    one.abort()
    await turns(2)
    assert (transport.writes, one.waiting_bytes()) == ([_unfollow("a")], 0)


@contextlib.asynccontextmanager
async def _connected(one: Link) -> AsyncIterator[socket.socket]:
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.setblocking(False)
        await asyncio.get_running_loop().create_connection(lambda: one, sock=ours)
        yield theirs
        one.abort()


async def test_whoever_reads_nothing_is_cut_off_at_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(link, "LIMIT_BYTES", 1_000_000)
    losses: list[None] = []
    one = Link(lambda _body: None, lambda: losses.append(None))
    async with _connected(one):
        frame = frames.packet([frames.Failed(1, "", "x" * 100_000)])
        sent = 0
        while not losses:
            one.send_packet(frame)
            sent += len(frame)
            await turns(2)
            assert one.waiting_bytes() <= 1_000_000
        # The buffers of the socket take some.
        assert 1_000_000 < sent < 10_000_000
    assert losses == [None]


async def test_both_ends_hear_each_other_and_of_each_other_s_end() -> None:
    heard: list[frames.OfWorker] = []
    losses: list[str] = []
    one = Link(lambda _body: None, lambda: losses.append("one"))
    other = Link(
        lambda body: heard.extend(frames.of_worker.decode(body)),
        lambda: losses.append("other"),
    )
    loop = asyncio.get_running_loop()
    for end, its in zip((one, other), socket.socketpair(), strict=True):
        await loop.create_connection(lambda end=end: end, sock=its)  # type: ignore[misc]  # bound at once
    one.send(frames.Unfollow("a" * 300_000))
    one.send(frames.Unfollow("b"))
    one.close()
    await eventually(lambda: len(losses) == 2)
    assert heard == [frames.Unfollow("a" * 300_000), frames.Unfollow("b")]
