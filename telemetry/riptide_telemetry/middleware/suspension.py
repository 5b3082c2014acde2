"""Notices whether an awaitable had to wait."""

from __future__ import annotations

import asyncio
import time
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator

T = TypeVar("T")

_TURNS = 3


class Suspension(Generic[T]):
    """Awaits something, to the letter, and knows afterwards how long it was suspended.

    What is sent or thrown into it, a cancellation above all, goes to the awaited thing as it is,
    and so does what that returns or raises. A bare yield to the event loop is not waiting.
    """

    __slots__ = ("_awaitable", "_begun", "_iterator", "_since")

    def __init__(self, awaitable: Awaitable[T], *, begun: tuple[Any] | None = None) -> None:
        """Take an awaitable, or a coroutine that has begun and waits for what is in ``begun``."""
        self._awaitable = awaitable
        self._begun = begun
        self._since: float | None = None

    def seconds(self) -> float | None:
        """Return the seconds since it was first suspended, or None if it never was."""
        return None if self._since is None else time.monotonic() - self._since

    def __await__(self) -> Generator[Any, Any, T]:
        self._iterator = self._awaitable.__await__()
        if not hasattr(self._iterator, "throw"):
            # A bare iterator; only the interpreter's own ``await`` knows how to treat it.
            return self._iterator
        return self

    def __iter__(self) -> Suspension[T]:
        return self

    def __next__(self) -> Any:
        if self._begun is not None:
            (waits_for,), self._begun = self._begun, None
            return self._noted(waits_for)
        return self._noted(next(self._iterator))

    def send(self, value: Any) -> Any:
        """Resume the awaited thing with a value."""
        return self._noted(self._iterator.send(value))

    def throw(self, *error: Any) -> Any:
        """Raise an exception where the awaited thing is suspended."""
        return self._noted(self._iterator.throw(*error))

    def close(self) -> None:
        """Tell the awaited thing that nobody will resume it."""
        self._iterator.close()

    def _noted(self, waits_for: Any) -> Any:
        if self._since is None and waits_for is not None:
            self._since = time.monotonic()
        return waits_for


def begin(awaitable: Awaitable[T]) -> Suspension[T] | None:
    """Let a coroutine take its first step; return None if that was its last.

    Otherwise the suspension is still to be awaited, at once. What does not have to wait costs a
    fraction of one that is watched. To be called where the awaitable would be awaited.
    """
    if type(awaitable) is not CoroutineType:
        return Suspension(awaitable)
    try:
        waits_for = awaitable.send(None)
    except StopIteration:
        return None
    return Suspension(awaitable, begun=(waits_for,))


async def let_others_run() -> None:
    """Let tasks that are ready, and what they wake, go first; only in asyncio.

    So what woke this one becomes known to those that were told. An event loop tells of a lost
    connection one turn after the writers were woken, and the receiver hears of it in the next.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    for _ in range(_TURNS):
        await asyncio.sleep(0)
