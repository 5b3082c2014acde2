from __future__ import annotations

import os
import signal
import threading

from riptide.workers.signals import waited_for
from tests.waiting import DEADLINE_S


def test_signals_are_waited_for_in_their_order_and_do_nothing_else() -> None:
    with waited_for([signal.SIGUSR1, signal.SIGUSR2]) as signals:
        assert signals.wait(0) == []
        for number in (signal.SIGUSR2, signal.SIGUSR1):
            os.kill(os.getpid(), number)
        came: list[int] = []
        while len(came) < 2:
            came += signals.wait(DEADLINE_S)
        assert came == [signal.SIGUSR2, signal.SIGUSR1]
        assert signals.wait(-1) == []


def test_a_signal_that_another_thread_gets_ends_the_wait() -> None:
    with waited_for([signal.SIGUSR1]) as signals:
        target = threading.Thread(
            target=lambda: signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        )
        target.start()
        assert signals.wait(DEADLINE_S) == [signal.SIGUSR1]
        target.join()


def test_what_handled_the_signals_before_does_so_again_afterwards() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    with waited_for([signal.SIGUSR1]):
        assert signal.getsignal(signal.SIGUSR1) != before
    assert signal.getsignal(signal.SIGUSR1) == before
    wakeup = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup)
    assert wakeup == -1
