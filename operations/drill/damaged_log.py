"""The causes that a disk alters what it was given: a bit of the database, and one of the log."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import httpx2

from operations.drill.processes import DrillError

if TYPE_CHECKING:
    from pathlib import Path

    from operations.drill.scenario import Stage

DATA_DIRECTORY: Final = "data"
_MESSAGES: Final = 20
_DAMAGED: Final = 7
_PAUSE_S: Final = 0.2


async def flip_a_message(stage: Stage) -> None:
    """Flip a bit of a stored message while the service is stopped, and read its topic.

    Consumers have to get all other messages, and a gap. At the end the topic is left alone.

    Raises:
        DrillError: a consumer does not get what it should.

    """
    service = stage.service
    async with httpx2.AsyncClient(timeout=30) as client:
        await _publish(client, service.topic("altered"))
        await service.stop()
        database = service.directory / DATA_DIRECTORY / "riptide.db"
        _flip(database, database.read_bytes().index(_text(_DAMAGED).encode()))
        await service.start()
        while True:
            answer = await client.get(service.topic("altered"), params={"until": "latest"})
            text = answer.raise_for_status().text
            if text.count('"data"') != _MESSAGES - 1 or '"reason":"damaged"' not in text:
                raise DrillError(f"consumers of a damaged topic get {text!r}")
            await asyncio.sleep(_PAUSE_S)


async def flip_the_write_ahead_log(stage: Stage) -> None:
    """Kill the process, flip a bit of the write-ahead log, and start another."""
    service = stage.service
    async with httpx2.AsyncClient(timeout=30) as client:
        await _publish(client, service.topic("lost"))
    service.send(9)
    await service.wait_for_end()
    wal = service.directory / DATA_DIRECTORY / "riptide.db-wal"
    _flip(wal, wal.read_bytes().index(_text(_DAMAGED).encode()))
    await service.start()
    try:
        await asyncio.Event().wait()
    finally:
        await service.restart()


async def _publish(client: httpx2.AsyncClient, url: str) -> None:
    """Publish messages one by one, so that each has a commit of its own."""
    for number in range(_MESSAGES):
        (await client.post(url, json=_text(number))).raise_for_status()


def _text(number: int) -> str:
    return f"the message with the number {number:04}"


def _flip(file: Path, offset: int) -> None:
    with file.open("r+b") as damaged:
        damaged.seek(offset)
        byte = damaged.read(1)[0]
        damaged.seek(offset)
        damaged.write(bytes([byte ^ 1]))
