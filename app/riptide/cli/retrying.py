"""Retries with jittered backoff, for as long as the user allows."""

from __future__ import annotations

import math
import random
import time
from typing import TYPE_CHECKING

from riptide.cli.errors import TemporaryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import stamina

# In seconds.
WAIT_INITIAL = 0.1
WAIT_JITTER = 0.4
WAIT_MAX = 5.0

_random = random.SystemRandom()


def jitter(seconds: float) -> float:
    """Return a random part of a wait, so that clients cut off together do not return together."""
    return _random.uniform(0, seconds)


def attempts(
    retry_for: float, on_failure: Callable[[TemporaryError], None]
) -> Iterator[stamina.Attempt]:
    """Yield contexts: one that raises ``TemporaryError`` is followed by another after a wait.

    An error is raised to the caller ``retry_for`` seconds after the first attempt, or as soon as
    the service asks for a longer wait than is left. ``on_failure`` is called with the errors
    before that one, once for each text.
    """
    import stamina  # noqa: PLC0415  # slow to import, and --help does not need it
    import stamina.instrumentation  # noqa: PLC0415  # as slow to import as stamina

    # Stamina's default hooks, which count in Prometheus's registry and log, are switched off.
    stamina.instrumentation.set_on_retry_hooks(())
    deadline = time.monotonic() + retry_for
    reported: set[str] = set()

    def wait(error: Exception) -> bool | float:
        if not isinstance(error, TemporaryError):
            return False
        asked = error.retry_after
        if time.monotonic() + (asked or 0) >= deadline:
            return False
        if str(error) not in reported:
            reported.add(str(error))
            on_failure(error)
        return True if asked is None else asked + jitter(WAIT_JITTER)

    return iter(
        stamina.retry_context(
            on=wait,
            attempts=None,
            timeout=None if math.isinf(retry_for) or retry_for == 0 else retry_for,
            wait_initial=WAIT_INITIAL,
            wait_jitter=WAIT_JITTER,
            wait_max=WAIT_MAX,
        )
    )
