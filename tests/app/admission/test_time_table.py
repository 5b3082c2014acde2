from __future__ import annotations

from riptide.admission.hashed_key import HashedKey, hashed_by
from riptide.admission.time_table import BUCKET, TimeTable

HASHED = hashed_by(bytes(16))


def _memory(buckets: int) -> memoryview:
    return memoryview(bytearray(16 * BUCKET * buckets))


def test_a_time_goes_on_from_where_it_is_or_from_now() -> None:
    memory = _memory(4)
    one, other = TimeTable(memory), TimeTable(memory)
    assert one.get(HASHED("a")) is None
    one.add(HASHED("a"), 100.0, 7.0)
    assert other.get(HASHED("a")) == 107
    other.add(HASHED("a"), 101.0, 1.0)
    assert one.get(HASHED("a")) == 108
    one.add(HASHED("a"), 500.0, 1.0)
    assert one.get(HASHED("a")) == 501
    assert one.get(HASHED("b")) is None


def test_a_key_without_room_replaces_the_one_whose_time_is_earliest() -> None:
    table = TimeTable(_memory(1))
    for number in range(BUCKET):
        table.add(HASHED(str(number)), 100.0, 10.0 + (number - 3) ** 2)
    table.add(HASHED("one more"), 100.0, 1.0)
    assert table.get(HASHED("one more")) == 101
    assert table.get(HASHED("3")) is None
    assert all(table.get(HASHED(str(number))) for number in range(BUCKET) if number != 3)


def test_a_key_is_found_in_either_of_its_buckets() -> None:
    table = TimeTable(_memory(2))
    for tag in range(1, 2 * BUCKET + 1):
        table.add(HashedKey(0, 1, tag), 0.0, float(tag))
    for tag in range(1, 2 * BUCKET + 1):
        assert table.get(HashedKey(1, 0, tag)) == tag
