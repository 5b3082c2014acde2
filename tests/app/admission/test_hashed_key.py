from __future__ import annotations

from riptide.admission.hashed_key import hashed_by

SECRET = bytes(range(16))


def test_processes_with_one_secret_agree_and_nobody_else_can_tell_where_a_key_is() -> None:
    one, same, other = hashed_by(SECRET), hashed_by(SECRET), hashed_by(bytes(16))
    for key in ("address 192.0.2.1", "identity alice", "identity \udcff", ""):
        assert one(key) == same(key)
        assert one(key) != other(key)


def test_a_tag_fits_beside_a_count_and_is_never_that_of_a_free_place() -> None:
    hashed = hashed_by(SECRET)
    assert all(0 < hashed(str(number)).tag < 1 << 40 for number in range(1000))
