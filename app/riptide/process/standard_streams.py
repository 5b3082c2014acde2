"""The descriptors 0 to 2, which nothing but the standard streams may have."""

from __future__ import annotations

import contextlib
import os
import sys

STDERR = 2


def open_closed() -> None:
    """Open the standard descriptors that are closed, on a device that keeps nothing.

    Otherwise the next socket or file would get the number, and be what a child process reads as its
    input, or what log records are written to.
    """
    for descriptor in range(STDERR + 1):
        if _is_closed(descriptor):
            # Without the device (a bare chroot) they stay closed.
            with contextlib.suppress(OSError):
                # The lowest number that is free, so it is this one.
                os.open(os.devnull, os.O_RDWR)
                os.set_inheritable(descriptor, True)
                if descriptor == STDERR:
                    sys.stderr = open(STDERR, "w", closefd=False)  # noqa: SIM115  # for the whole process


def _is_closed(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return True
    return False
