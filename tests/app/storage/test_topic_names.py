from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from riptide.storage import topic_names
from riptide.storage.topic_names import RUN, TopicNames

NAMES = st.text("abc", max_size=3)


@given(
    st.lists(NAMES),
    st.lists(st.tuples(st.booleans(), NAMES), max_size=60),
    NAMES,
    st.integers(1, 30),
)
def test_names_come_in_order_whatever_was_added_and_taken_out(
    first: list[str], changes: list[tuple[bool, str]], after: str, limit: int
) -> None:
    topic_names.RUN = 2
    try:
        names, expected = TopicNames(set(first)), set(first)
        for is_added, name in changes:
            if is_added:
                names.add(name)
                expected.add(name)
            else:
                names.discard(name)
                expected.discard(name)
        assert names.after(after, limit) == sorted(n for n in expected if n > after)[:limit]
        assert names.after("", 1000) == sorted(expected - {""})
    finally:
        topic_names.RUN = RUN


def test_no_list_of_names_becomes_long() -> None:
    names = TopicNames()
    for number in range(10 * RUN):
        names.add(f"{number:06}")
    assert max(map(len, names._runs)) <= 2 * RUN
    assert names.after("004999", 2) == ["005000", "005001"]


def test_threads_may_change_it_while_others_look() -> None:
    names = TopicNames(f"{number:05}" for number in range(0, 5000, 2))
    done = threading.Event()

    def change() -> None:
        for number in range(1, 5000, 2):
            names.add(f"{number:05}")
        for number in range(1, 5000, 2):
            names.discard(f"{number:05}")
        done.set()

    changing = threading.Thread(target=change)
    changing.start()
    while not done.is_set():
        found = names.after("01000", 2000)
        assert found == sorted(set(found))
        assert set(found) >= {f"{number:05}" for number in range(1002, 1500, 2)}
    changing.join()
    assert names.after("", 10_000) == [f"{number:05}" for number in range(0, 5000, 2)]
