from __future__ import annotations

import pytest

from riptide_telemetry import MessageBatch


def test_a_batch_needs_no_more_than_a_count_and_a_size() -> None:
    batch = MessageBatch(3, 120)
    assert (batch.count, batch.size_bytes) == (3, 120)
    assert (tuple(batch.accepted_ns), batch.trace, batch.traced) == ((), None, -1)


def test_a_batch_takes_no_memory_for_names_that_it_does_not_have() -> None:
    with pytest.raises(AttributeError):
        MessageBatch(1, 1).size = 1  # type: ignore[attr-defined]  # a misspelt name is the case
