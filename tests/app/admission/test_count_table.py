from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riptide.admission.count_table import BUCKET, MOST, CountTable
from riptide.admission.hashed_key import HashedKey, hashed_by
from riptide.workers.shared_limits import make_shared_limits

HASHED = hashed_by(bytes(16))
# Counts two keys of one bucket up and down until it is killed.
RESTLESS = textwrap.dedent(
    """
    import mmap, sys
    from riptide.admission.count_table import CountTable
    from riptide.admission.hashed_key import HashedKey
    table = CountTable(memoryview(mmap.mmap(int(sys.argv[1]), 4096)).cast("Q"))
    print("counts", flush=True)
    while True:
        for count in (0x555555, 0xaaaaaa, 0):
            for tag in (0x5555555555, 0xaaaaaaaaaa):
                table.put(HashedKey(0, 1, tag), count)
    """
)


def _table(buckets: int) -> CountTable:
    return CountTable(memoryview(bytearray(8 * BUCKET * buckets)).cast("Q"))


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 3))))
def test_a_reader_of_the_memory_finds_what_the_writer_has_counted(
    changes: list[tuple[int, int]],
) -> None:
    memory = memoryview(bytearray(8 * BUCKET * 4)).cast("Q")
    writer, reader = CountTable(memory), CountTable(memory)
    counts: dict[int, int] = {}
    for key, count in changes:
        if writer.put(HASHED(str(key)), count):
            counts[key] = count
        else:
            assert sum(map(bool, counts.values())) >= BUCKET
    for key in range(21):
        assert reader.get(HASHED(str(key))) == counts.get(key, 0)


def test_keys_without_a_count_take_no_room() -> None:
    table = _table(1)
    for number in range(10 * BUCKET):
        assert table.put(HASHED(str(number)), 1)
        assert table.put(HASHED(str(number)), 0)
    assert table.put(HASHED("unknown"), 0)
    assert not any(table._numbers.tolist())
    assert not table._places


def test_a_full_table_says_so_and_keeps_what_it_has() -> None:
    table = _table(1)
    for number in range(BUCKET):
        assert table.put(HASHED(str(number)), number + 1)
    assert not table.put(HASHED("one more"), 1)
    assert table.get(HASHED("one more")) == 0
    assert [table.get(HASHED(str(number))) for number in range(BUCKET)] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert table.put(HASHED("0"), 0)
    assert table.put(HASHED("one more"), 1)


def test_a_table_that_is_half_full_has_room_for_every_key() -> None:
    table = _table(4096)
    assert all(table.put(HASHED(str(number)), 1) for number in range(4096 * BUCKET // 2))


def test_a_count_beyond_what_fits_leaves_the_tag_alone() -> None:
    table = _table(1)
    table.put(HASHED("a"), MOST + 5)
    assert table.get(HASHED("a")) == MOST


@pytest.mark.parametrize("tag", [0x5555555555, 0xAAAAAAAAAA])
def test_nobody_reads_half_of_a_count_while_it_is_written(tag: int) -> None:
    limits = make_shared_limits(1, 1)
    command = [sys.executable, "-c", RESTLESS, str(limits.descriptor)]
    with subprocess.Popen(
        command, pass_fds=[limits.descriptor], stdout=subprocess.PIPE
    ) as restless:
        assert restless.stdout is not None
        restless.stdout.readline()
        reader = CountTable(memoryview(limits._memory)[:4096].cast("Q"))
        seen = {reader.get(HashedKey(0, 1, tag)) for _ in range(50_000)}
        # A process that dies in the middle leaves nothing behind that is not a count.
        restless.kill()
    assert seen | {reader.get(HashedKey(0, 1, tag))} <= {0, 0x555555, 0xAAAAAA}
