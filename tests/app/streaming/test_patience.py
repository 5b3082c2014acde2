from __future__ import annotations

from riptide.streaming.connection import ClientConnection
from riptide.streaming.patience import NANOSECONDS, Patience
from tests.app.streaming.pipe import PipeTransport


class Client:
    """A connection with as much left in its buffer as the test says, looked at each second."""

    def __init__(self, timeout_s: float = 3) -> None:
        self.transport = PipeTransport()
        self.connection = ClientConnection(self.transport)
        self.patience = Patience(timeout_s)
        self.now_s = 100

    def look(self, untaken: int, since_s: int = 0) -> bool:
        self.transport.buffered = untaken
        self.now_s += 1
        self.patience.begin_round()
        return self.patience.is_over(
            self.connection, self.now_s * NANOSECONDS, since_s * NANOSECONDS
        )


def test_a_client_that_takes_nothing_is_borne_with_for_the_timeout() -> None:
    client = Client()
    assert [client.look(5) for _ in range(5)] == [False, False, False, True, True]


def test_a_client_that_takes_a_little_each_time_is_borne_with_for_ever() -> None:
    client = Client()
    assert not any(client.look(untaken // 2) for untaken in range(100, 2, -1))


def test_what_more_is_written_is_no_sign_of_life() -> None:
    client = Client()
    assert [client.look(untaken) for untaken in (5, 6, 7, 8)] == [False, False, False, True]


def test_what_is_taken_is_one_however_much_is_written() -> None:
    client = Client()
    assert not any(client.look(untaken) for untaken in (50, 49, 150, 149, 250, 249, 350, 349))


def test_where_it_is_known_since_when_something_waits_that_counts() -> None:
    assert Client().look(5, since_s=98)
    client = Client()
    assert not client.look(5, since_s=99)
    assert client.look(5, since_s=99)


def test_a_wait_that_began_anew_begins_to_count_anew() -> None:
    client = Client()
    assert not client.look(5, since_s=100)
    assert not client.look(9, since_s=101)
    assert not client.look(9, since_s=101)
    assert client.look(9, since_s=101)


def test_nothing_is_kept_of_who_was_not_looked_at_in_the_round_before() -> None:
    client = Client()
    client.look(5)
    client.patience.begin_round()
    client.patience.begin_round()
    assert not client.patience._before
    client.now_s += 100
    assert not client.look(5)
