"""Records to test with."""

from __future__ import annotations

from riptide.storage.jetstream.record import Part, Record
from tests.app.messages import ACCEPTED_AT, EPOCH


def make_record(
    first: int,
    length: int = 1,
    *,
    epoch: str = EPOCH,
    accepted_at: int = ACCEPTED_AT,
    writer: int | None = None,
) -> Record:
    """Return a record whose payloads are their numbers."""
    payloads = [b"%d" % number for number in range(first, first + length)]
    parts = [Part(length, accepted_at)] if length else []
    return Record(epoch, first, f"{epoch}.{writer or first}", parts, payloads)
