from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riptide.message import NANOSECONDS, Acceptance
from riptide.storage.jetstream.leader_clock import MEMORY_NS, LeaderClock

MILLISECOND = 1_000_000


class Machine:
    """A machine whose clock is ahead of the leader's by ``offset_ns``."""

    def __init__(self, offset_ns: int) -> None:
        self.offset_ns = offset_ns
        self.monotonic_ns = 500 * NANOSECONDS
        self.clock = LeaderClock(self.now)

    @property
    def leader_ns(self) -> int:
        """Unix time of the leader."""
        return 10**18 + self.monotonic_ns

    def now(self) -> Acceptance:
        return Acceptance(self.leader_ns + self.offset_ns, self.monotonic_ns)

    def ask(self, there_ns: int, back_ns: int, leader: str | None = "n1") -> None:
        """Ask for the time over a network that takes so long."""
        asked_ns = self.monotonic_ns
        self.monotonic_ns += there_ns
        told_ns = self.leader_ns
        self.monotonic_ns += back_ns
        self.clock.note(leader, told_ns, asked_ns)


@pytest.fixture
def machine() -> Machine:
    return Machine(30 * NANOSECONDS)


def test_nothing_is_known_before_the_first_answer(machine: Machine) -> None:
    assert (machine.clock.offset_ns(), machine.clock.uncertainty_ns()) == (None, 0)
    assert machine.clock.now_of(5 * NANOSECONDS) == machine.now()


@given(
    offset_ns=st.integers(-(10**15), 10**15),
    ways=st.lists(
        st.tuples(st.integers(0, NANOSECONDS), st.integers(0, NANOSECONDS)), min_size=1, max_size=20
    ),
)
def test_the_true_offset_is_within_the_uncertainty(
    offset_ns: int, ways: list[tuple[int, int]]
) -> None:
    machine = Machine(offset_ns)
    for there_ns, back_ns in ways:
        machine.ask(there_ns, back_ns)
    found_ns = machine.clock.offset_ns()
    assert found_ns is not None
    # Half a nanosecond may be lost in each of two divisions.
    assert abs(found_ns - offset_ns) <= machine.clock.uncertainty_ns() + 1
    assert machine.clock.uncertainty_ns() <= min(map(sum, ways)) / 2


def test_the_quickest_answer_is_believed_for_a_minute(machine: Machine) -> None:
    machine.ask(MILLISECOND, MILLISECOND)
    machine.ask(9 * MILLISECOND, MILLISECOND)
    assert machine.clock.offset_ns() == machine.offset_ns
    assert machine.clock.uncertainty_ns() == MILLISECOND
    machine.monotonic_ns += MEMORY_NS
    machine.ask(20 * MILLISECOND, 20 * MILLISECOND)
    assert machine.clock.uncertainty_ns() == 20 * MILLISECOND


def test_another_leader_has_another_clock(machine: Machine) -> None:
    machine.ask(MILLISECOND, MILLISECOND)
    machine.offset_ns -= 7 * NANOSECONDS
    machine.ask(5 * MILLISECOND, 5 * MILLISECOND, "n2")
    assert machine.clock.offset_ns() == machine.offset_ns
    assert machine.clock.uncertainty_ns() == 5 * MILLISECOND


def test_a_step_of_the_own_clock_shows_at_once(machine: Machine) -> None:
    machine.ask(MILLISECOND, MILLISECOND)
    machine.offset_ns -= 40 * NANOSECONDS
    assert machine.clock.offset_ns() == machine.offset_ns


def test_the_age_of_what_another_instance_has_accepted_is_right_whatever_its_clock_says(
    machine: Machine,
) -> None:
    other = Machine(-100 * NANOSECONDS)
    for each in (machine, other):
        each.ask(MILLISECOND, MILLISECOND)
    accepted = other.now()
    machine.monotonic_ns += 3 * NANOSECONDS
    now = machine.clock.now_of(other.clock.offset_ns())
    assert now.monotonic_ns == machine.monotonic_ns
    assert now.unix_ns - accepted.unix_ns == 3 * NANOSECONDS


def test_an_instance_that_does_not_know_its_offset_is_believed(machine: Machine) -> None:
    machine.ask(MILLISECOND, MILLISECOND)
    assert machine.clock.now_of(None) == machine.now()
