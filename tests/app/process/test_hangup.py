from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest

from riptide.process import hangup

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _default() -> Iterator[None]:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def test_the_first_sighup_is_handled_and_later_ones_are_ignored() -> None:
    handled: list[Any] = []
    with hangup.handled_once_by(lambda number, _frame: handled.append(number)):
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
    # The log is still being closed.
    signal.raise_signal(signal.SIGHUP)
    assert handled == [signal.SIGHUP]


def test_without_a_sighup_everything_is_as_before() -> None:
    with hangup.handled_once_by(lambda *_: None):
        assert callable(signal.getsignal(signal.SIGHUP))
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL


def test_a_process_that_is_to_outlive_its_terminal_does() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    handled: list[Any] = []
    with hangup.handled_once_by(lambda *_: handled.append(1)):
        assert hangup.is_ignored()
        signal.raise_signal(signal.SIGHUP)
    assert handled == []
