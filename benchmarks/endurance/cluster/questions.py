"""What JetStream's API is asked by whoever is no instance of Riptide."""

from __future__ import annotations

import asyncio
import contextlib
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, TypeVar

import nats
import nats.errors
import orjson

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

T = TypeVar("T")

DEADLINE_S, POLL_S = 120.0, 0.1


class AskedServers(ABC):
    """Servers of one cluster that are asked how its streams are, of which some may not run.

    Whatever is waited for raises a ``RuntimeError`` if it does not come.
    """

    @property
    @abstractmethod
    def count(self) -> int:
        """How many servers there are, also those that do not run."""

    @abstractmethod
    def running_urls(self) -> list[str]:
        """Return where those are reached that run."""

    async def ask(self, action: str, question: bytes = b"") -> dict[str, Any]:
        """Return the answer of JetStream's API by any of them; empty if none comes."""
        return await ask(self.running_urls(), action, question)

    async def wait_for_leader(self, stream: str) -> str:
        """Return the name of the stream's leader as soon as there is one."""

        async def found() -> str:
            return str((await self._cluster(stream)).get("leader") or "")

        return await self._wait_for(found, f"{stream} has a leader")

    async def wait_until_whole(self, stream: str, *, may_lag: bool = False) -> None:
        """Wait until all servers have the whole stream, or all that they were told some time ago.

        A server that ``may_lag`` is behind for as long as more comes than it takes.
        """

        async def is_whole() -> bool:
            replicas = (await self._cluster(stream)).get("replicas") or []
            return len(replicas) == self.count - 1 and all(
                not each.get("offline") and (may_lag or (each["current"] and not each.get("lag")))
                for each in replicas
            )

        await self._wait_for(is_whole, f"all servers have {stream}")

    async def wait_until_it_answers(self) -> None:
        """Wait until streams can be created: the cluster has a leader."""

        async def answers() -> bool:
            return "streams" in await self.ask("STREAM.NAMES")

        await self._wait_for(answers, "the cluster answers")

    async def _cluster(self, stream: str) -> dict[str, Any]:
        found: dict[str, Any] = (await self.ask(f"STREAM.INFO.{stream}")).get("cluster", {})
        return found

    @staticmethod
    async def _wait_for(condition: Callable[[], Awaitable[T]], what: str) -> T:
        deadline = time.monotonic() + DEADLINE_S
        while not (found := await condition()):
            if time.monotonic() > deadline:
                raise RuntimeError(f"in vain: {what}")
            await asyncio.sleep(POLL_S)
        return found


async def ask(urls: Sequence[str], action: str, question: bytes = b"") -> dict[str, Any]:
    """Return the answer of JetStream's API at one of these servers; empty if none comes."""
    with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
        client = await nats.connect(
            list(urls), allow_reconnect=False, connect_timeout=2, error_cb=_say_nothing
        )
        try:
            answer = await client.request(f"$JS.API.{action}", question, timeout=2)
            found: dict[str, Any] = orjson.loads(answer.data)
            return found
        finally:
            await client.close()
    return {}


async def _say_nothing(_: Exception) -> None:
    """Whoever asks sees that there was no answer."""
