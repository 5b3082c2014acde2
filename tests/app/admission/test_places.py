from __future__ import annotations

from riptide.admission.places import Places


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
