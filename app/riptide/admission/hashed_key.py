"""Keys of clients as numbers, for tables in memory that several processes share."""

from __future__ import annotations

import functools
import hashlib
import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET_BYTES = 16
# Clients whose numbers are remembered, because each request needs them.
REMEMBERED = 4096


class HashedKey(NamedTuple):
    """Where in a table a key may be, two buckets to choose from, and the tag that tells it apart.

    Two keys with one tag in one bucket would be taken for one. The tag has 40 bits, so that does
    not happen by chance, and the secret keeps anybody from causing it.
    """

    first: int
    second: int
    tag: int


def hashed_by(secret: bytes) -> Callable[[str], HashedKey]:
    """Return the function from keys to numbers that processes with the same secret share."""

    @functools.lru_cache(REMEMBERED)
    def hashed(key: str) -> HashedKey:
        digest = hashlib.blake2b(key.encode(errors="surrogateescape"), digest_size=16, key=secret)
        first, second, tag = struct.unpack("=LLQ", digest.digest())
        return HashedKey(first, second, tag >> 24 or 1)

    return hashed
