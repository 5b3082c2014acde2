"""Memory without a name, which processes share that inherit its descriptor.

It is in no directory, so nothing that tidies directories up can take it away.
"""

from __future__ import annotations

import os
import tempfile

from riptide.errors import StartError


def make_shared_memory(size: int) -> int:
    """Return the descriptor of so many bytes, all zero. They take no memory until they are written.

    Raises:
        StartError: the system gives no memory that can be shared.

    """
    try:
        descriptor = _unnamed_file()
        os.truncate(descriptor, size)
    except OSError as error:
        raise StartError(
            f"cannot share memory among workers ({error.strerror}): use one worker"
        ) from None
    return descriptor


def _unnamed_file() -> int:
    if hasattr(os, "memfd_create"):  # on Linux
        return os.memfd_create("riptide-workers")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
