from __future__ import annotations

import itertools

from riptide.storage.checksum import checksum

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_every_flipped_bit_of_a_payload_changes_the_checksum() -> None:
    payload = b'{"temperature": 21.5, "unit": "C"}'
    whole = checksum(1, 2, 3, payload, None)
    for position, bit in itertools.product(range(len(payload)), range(8)):
        damaged = bytearray(payload)
        damaged[position] ^= 1 << bit
        assert checksum(1, 2, 3, bytes(damaged), None) != whole


def test_every_part_of_a_message_and_its_place_count() -> None:
    sums = {
        checksum(1, 2, 3, b"4", None),
        checksum(9, 2, 3, b"4", None),
        checksum(1, 9, 3, b"4", None),
        checksum(1, 2, 9, b"4", None),
        checksum(1, 2, 3, b"9", None),
        checksum(1, 2, 3, b"4", TRACE),
        checksum(1, 2, 3, b"4", ""),
        checksum(1, 2, 3, TRACE.encode() + b"4", None),
    }
    assert len(sums) == 8
    assert all(0 <= each < 2**32 for each in sums)
