"""Measures how long an awaitable had to wait."""

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
    """Awaits an awaitable, and measures how long that was suspended.

    Everything passes through unchanged: what is sent or thrown in (cancellations above all), and
    what the awaitable returns or raises. A bare yield to the event loop does not count as waiting.
    """

    __slots__ = ("_awaitable", "_begun", "_iterator", "_since")

    def __init__(self, awaitable: Awaitable[T], *, begun: tuple[Any] | None = None) -> None:
        """Take an awaitable, or a begun coroutine with what it waits for in ``begun``."""
        self._awaitable = awaitable
        self._begun = begun
        self._since: float | None = None

    def seconds(self) -> float | None:
        """Return the seconds since the first suspension, or None if there was none."""
        return None if self._since is None else time.monotonic() - self._since

    def __await__(self) -> Generator[Any, Any, T]:
        self._iterator = self._awaitable.__await__()
        if not hasattr(self._iterator, "throw"):
            # A bare iterator has no ``throw``. Only the interpreter's own ``await`` can handle it.
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
        """Resume the awaitable with a value."""
        return self._noted(self._iterator.send(value))

    def throw(self, *error: Any) -> Any:
        """Raise an exception where the awaitable is suspended."""
        return self._noted(self._iterator.throw(*error))

    def close(self) -> None:
        """Close the awaitable, which will not be resumed."""
        self._iterator.close()

    def _noted(self, waits_for: Any) -> Any:
        if self._since is None and waits_for is not None:
            self._since = time.monotonic()
        return waits_for


def begin(awaitable: Awaitable[T]) -> Suspension[T] | None:
    """Run a coroutine until it waits. Return None if it has ended, or what is left to await.

    Call this where the awaitable would be awaited, and await the result at once. A coroutine that
    does not wait costs a fraction of a ``Suspension``.
    """
    if type(awaitable) is not CoroutineType:
        return Suspension(awaitable)
    try:
        waits_for = awaitable.send(None)
    except StopIteration:
        return None
    return Suspension(awaitable, begun=(waits_for,))


async def let_others_run() -> None:
    """Let other tasks run for three turns of the event loop. Do nothing outside of asyncio.

    A lost connection wakes its writers first. The loop reports the loss one turn later, and the
    task that receives hears of it in the turn after that.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    for _ in range(_TURNS):
        await asyncio.sleep(0)
