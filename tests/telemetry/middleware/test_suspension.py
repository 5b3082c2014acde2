from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from riptide_telemetry.middleware.suspension import Suspension, begin, let_others_run

if TYPE_CHECKING:
    from collections.abc import Iterator


async def test_what_returns_at_once_was_never_suspended() -> None:
    async def at_once() -> str:
        return "result"

    suspension = Suspension(at_once())
    assert await suspension == "result"
    assert suspension.seconds() is None


async def test_what_waits_for_a_future_was_suspended() -> None:
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_result, "result")
    suspension = Suspension(future)
    assert await suspension == "result"
    seconds = suspension.seconds()
    assert seconds is not None
    assert seconds >= 0


async def test_a_bare_yield_to_the_event_loop_is_no_waiting() -> None:
    suspension = Suspension(asyncio.sleep(0))
    await suspension
    assert suspension.seconds() is None


async def test_an_exception_comes_out_as_it_was_raised() -> None:
    error = OSError("gone")

    async def fail() -> None:
        await asyncio.sleep(0)
        raise error

    with pytest.raises(OSError, match="gone") as caught:
        await Suspension(fail())
    assert caught.value is error


async def test_a_cancellation_reaches_what_is_awaited_and_may_be_refused_there() -> None:
    seen = []
    entered = asyncio.Event()

    async def stubborn() -> str:
        try:
            entered.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            seen.append(error.args)
            await asyncio.sleep(0)
        return "finished anyway"

    async def wait() -> str:
        return await Suspension(stubborn())

    task = asyncio.create_task(wait())
    await entered.wait()
    task.cancel("why")
    assert await task == "finished anyway"
    assert seen == [("why",)]


async def test_a_cancellation_that_nobody_refuses_cancels() -> None:
    entered = asyncio.Event()
    suspensions = []

    async def wait_for_ever() -> None:
        entered.set()
        await asyncio.Event().wait()

    async def wait() -> None:
        suspensions.append(Suspension(wait_for_ever()))
        await suspensions[0]

    task = asyncio.create_task(wait())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert suspensions[0].seconds() is not None


def test_closing_the_waiter_closes_what_it_awaits() -> None:
    closed = []

    class Waiting:
        def __await__(self) -> Any:
            try:
                yield "a trap of some event loop"
            finally:
                closed.append(True)

    async def wait() -> None:
        await Suspension(Waiting())

    coroutine = wait()
    assert coroutine.send(None) == "a trap of some event loop"
    coroutine.close()
    assert closed


def test_values_that_an_event_loop_sends_in_arrive() -> None:
    class Asking:
        def __await__(self) -> Any:
            answer = yield "question"
            return answer

    async def ask() -> Any:
        return await Suspension(Asking())

    coroutine = ask()
    assert coroutine.send(None) == "question"
    with pytest.raises(StopIteration) as stopped:
        coroutine.send("answer")
    assert stopped.value.value == "answer"


def test_a_bare_iterator_is_awaited_but_not_watched() -> None:
    class Bare:
        def __await__(self) -> Iterator[str]:
            return iter(["one", "two"])

    async def wait() -> None:
        await Suspension(Bare())  # type: ignore[arg-type]  # Python's await accepts any iterator

    coroutine = wait()
    assert coroutine.send(None) == "one"
    assert coroutine.send(None) == "two"
    with pytest.raises(StopIteration):
        coroutine.send(None)


async def test_others_that_are_ready_run_first() -> None:
    ran: list[bool] = []
    asyncio.get_running_loop().call_soon(ran.append, True)
    await let_others_run()
    assert ran


def test_in_another_event_loop_than_asyncio_nothing_is_let_run() -> None:
    coroutine = let_others_run()
    with pytest.raises(StopIteration):
        coroutine.send(None)


async def test_a_coroutine_that_does_not_wait_is_over_once_it_has_begun() -> None:
    done: list[bool] = []

    async def at_once() -> None:
        done.append(True)

    assert begin(at_once()) is None
    assert done == [True]


async def test_a_coroutine_that_has_begun_goes_on_where_it_waits() -> None:
    future = asyncio.get_running_loop().create_future()

    async def wait() -> str:
        return f"got {await future}"

    suspension = begin(wait())
    assert suspension is not None
    asyncio.get_running_loop().call_soon(future.set_result, "it")
    assert await suspension == "got it"
    assert suspension.seconds() is not None


async def test_a_cancellation_reaches_a_coroutine_that_has_begun() -> None:
    seen = []

    async def stubborn() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            seen.append(error.args)
        return "finished anyway"

    async def wait() -> str | None:
        suspension = begin(stubborn())
        return None if suspension is None else await suspension

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel("why")
    assert await task == "finished anyway"
    assert seen == [("why",)]


def test_what_a_coroutine_raises_as_it_begins_comes_out_at_once() -> None:
    async def fail() -> None:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        begin(fail())


async def test_what_is_no_coroutine_is_left_to_be_awaited() -> None:
    future = asyncio.get_running_loop().create_future()
    future.set_result("result")
    suspension = begin(future)
    assert suspension is not None
    assert await suspension == "result"
