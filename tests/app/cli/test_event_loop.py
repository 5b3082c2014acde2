from __future__ import annotations

import asyncio
import signal

import pytest

from riptide.cli.errors import Interrupted
from riptide.cli.event_loop import run


async def _answer() -> int:
    return 7


def test_what_comes_of_it_is_returned_and_signals_are_as_before() -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert run(_answer()) == 7
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_it_close_what_it_has_open(number: signal.Signals) -> None:
    steps: list[str] = []

    async def work() -> None:
        try:
            signal.raise_signal(number)
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            steps.append("closed")

    with pytest.raises(Interrupted):
        run(work())
    assert steps == ["closed"]


def test_an_error_stays_one() -> None:
    async def fail() -> None:
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        run(fail())
