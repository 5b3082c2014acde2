"""Tunes the interpreter: how long a thread runs at a time, and how often garbage is collected."""

from __future__ import annotations

import contextlib
import gc
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# A scrape runs on a thread of its own, and lets the event loop run after this time. With Python's
# default of 5 ms, a scrape of 10,000 streams blocked the loop for 5.3 ms at a time; with 1 ms, for
# 1.3 ms.
SWITCH_INTERVAL_S = 0.0005
# A stream has 91 objects that the garbage collector visits, and none of them is garbage. While
# 5,000 streams connected and read 1,000 messages each, collections at Python's default thresholds
# (700, 10, 10) took up to 233 ms and 700 ms in all; at (5,000, 10, 50) up to 18 ms and 120 ms in
# all, since objects waited for their second visit until there were 50,000; at these up to 3 ms and
# 80 ms in all. A read of messages alone makes fewer objects than the first threshold.
COLLECTOR_THRESHOLDS = (5_000, 0, 300)


@contextlib.contextmanager
def tuned_for_streams() -> Iterator[None]:
    """Tune the interpreter within this context, and restore its settings at the end.

    Objects that exist at the beginning are not visited by collections (``gc.freeze``).
    """
    switch_interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
        sys.setswitchinterval(switch_interval)
