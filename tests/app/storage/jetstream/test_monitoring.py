"""What a server's monitoring says is read, and what is none is said without its secrets."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from operations.ports import free_port
from riptide.storage.jetstream.monitoring import MonitorError, ask_monitor, named, read_varz
from tests.nats_servers import server

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("sync", "is_synced", "interval_s"),
    [("", False, 120), ("sync_interval: always", True, 120), ("sync_interval: 10s", False, 10)],
)
def test_a_server_tells_when_it_syncs_and_what_room_it_has(
    tmp_path: Path, sync: str, *, is_synced: bool, interval_s: float
) -> None:
    port = free_port()
    limits = f"{sync}\nmax_file_store: 64MB"
    with server(tmp_path, f"http: 127.0.0.1:{port}", limits=limits):
        for url in (f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port}/varz"):
            state = ask_monitor(url)
            assert (state.name, state.is_synced, state.sync_interval_s) == (
                "n1",
                is_synced,
                interval_s,
            )
            assert (state.store_bytes, state.used_bytes) == (64 * 1024 * 1024, 0)


def test_what_does_not_answer_or_is_no_url_is_said(tmp_path: Path) -> None:
    with pytest.raises(MonitorError, match=r"no answer \(Connection refused\)"):
        ask_monitor(f"http://127.0.0.1:{free_port()}")
    for url in ("n1:8222", "file:///etc/passwd", "http://", ""):
        with pytest.raises(MonitorError, match="like http://host:8222"):
            ask_monitor(url)
    # The port of clients is another one.
    with server(tmp_path) as one, pytest.raises(MonitorError, match="no answer"):
        ask_monitor(f"http://127.0.0.1:{one.port}")


async def test_what_is_no_object_or_endless_or_of_another_program_is_said() -> None:
    for body, text in (
        (b"[1]", "no object"),
        (b"{}", "JetStream"),
        (b"<html>", "no answer"),
        (b'{"server_name": "n1", "jetstream": {}}', "JetStream"),
        (b'{"server_name": "n1", "jetstream": {"config": [], "stats": 1}}', "JetStream"),
    ):

        async def answer(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes = body
        ) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.0 200 OK\r\n\r\n" + body)
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as listener:
            port = listener.sockets[0].getsockname()[1]
            with pytest.raises(MonitorError, match=text):
                await asyncio.to_thread(ask_monitor, f"http://127.0.0.1:{port}")


def test_a_url_is_named_without_its_password() -> None:
    assert named("http://user:secret@host:8222/varz?token=x") == "host:8222"
    assert named("user:secret@host") == "host"


def test_an_old_server_says_nothing_of_syncs_that_never_wait() -> None:
    config = {"max_storage": 1, "sync_interval": 2_000_000_000}
    varz = {"server_name": "n", "jetstream": {"config": config, "stats": {"storage": 0}}}
    assert read_varz(varz) == ("n", False, 2.0, 1, 0)
