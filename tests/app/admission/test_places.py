from __future__ import annotations

from riptide.admission.places import Places, SharedPlaces
from riptide.workers.shared_limits import make_shared_limits


def test_a_key_is_full_at_the_limit_and_others_are_not() -> None:
    places = Places(2)
    for _ in range(2):
        assert not places.full("a")
        places.take("a")
    assert places.full("a")
    assert not places.full("b")
    places.give_back("a")
    assert not places.full("a")


def test_the_empty_key_is_never_full() -> None:
    places = Places(1)
    for _ in range(3):
        places.take("")
    assert not places.full("")
    assert len(places) == 0


def test_who_has_no_place_takes_no_memory() -> None:
    places = Places(5)
    for number in range(100):
        places.take(str(number))
        places.take(str(number))
        places.give_back(str(number))
    assert len(places) == 100
    for number in range(100):
        places.give_back(str(number))
    assert len(places) == 0


def test_places_in_all_workers_count_and_the_empty_key_s_do_not() -> None:
    limits = make_shared_limits(2, 10)
    one, other = (SharedPlaces(3, "kind ", limits.share_of(slot)) for slot in range(2))
    one.take("a")
    one.take("a")
    assert not other.full("a")
    other.take("a")
    assert one.full("a")
    assert other.full("a")
    one.give_back("a")
    assert not other.full("a")
    for _ in range(5):
        one.take("")
    assert not one.full("")
    assert len(one) == 1


def test_limits_of_different_kinds_are_counted_apart() -> None:
    share = make_shared_limits(2, 10)
    address = SharedPlaces(1, "address ", share.share_of(0))
    identity = SharedPlaces(1, "identity ", share.share_of(1))
    address.take("a")
    assert not identity.full("a")
