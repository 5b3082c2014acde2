"""Puts several servers under the same load in turn, and compares the results."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks import load
from benchmarks.figures import RATIO, Bar, Figure, ratios
from benchmarks.peers.blaster import BLASTER
from benchmarks.peers.broadcaster import BROADCASTER
from benchmarks.peers.nchan import NCHAN
from benchmarks.peers.pushpin import PUSHPIN
from benchmarks.peers.riptide import RIPTIDE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from benchmarks.load import Outcome, Plan
    from benchmarks.peers.peer import Peer

__all__ = ["BLASTER", "BROADCASTER", "NCHAN", "PUSHPIN", "RIPTIDE", "Contest", "Entry"]


@dataclass(frozen=True)
class Entry:
    """A server and its load; the name is unique within a contest."""

    name: str
    peer: Peer
    plan: Plan


@dataclass
class Contest:
    """Runs every entry once in each round, always on a fresh server, and keeps the outcomes."""

    entries: Sequence[Entry]
    rounds: int
    outcomes: dict[str, list[Outcome]] = field(default_factory=dict)
    # By the name of an entry without outcomes: the reason.
    left_out: dict[str, str] = field(default_factory=dict)

    def hold(self) -> Contest:
        """Run all rounds; peers that are not installed or fail are left out, but not Riptide."""
        for _ in range(self.rounds):
            for entry in self.entries:
                if entry.name not in self.left_out:
                    self._run(entry)
        return self

    def _run(self, entry: Entry) -> None:
        missing = entry.peer.missing()
        if missing:
            self.left_out[entry.name] = f"not installed: {', '.join(missing)}"
            return
        try:
            with entry.peer.serve() as serving:
                outcome = load.run(entry.peer, serving, entry.plan)
        except RuntimeError as error:
            if entry.peer.name == RIPTIDE.name:
                raise
            self.outcomes.pop(entry.name, None)
            self.left_out[entry.name] = str(error)[:300]
            return
        self.outcomes.setdefault(entry.name, []).append(outcome)

    def figure(
        self, name: str, what: str, unit: str, value: Callable[[Outcome], float]
    ) -> Iterable[Figure]:
        """Return a figure of one entry, if it has outcomes."""
        if name in self.outcomes:
            samples = [value(outcome) for outcome in self.outcomes[name]]
            yield Figure(f"{name}: {what}", unit, samples, row=name, column=what)

    def ratio(
        self,
        above: str,
        below: str,
        what: str,
        value: Callable[[Outcome], float],
        bar: Bar | None = None,
    ) -> Iterable[Figure]:
        """Return how one entry compares with another, if both have outcomes."""
        if above in self.outcomes and below in self.outcomes:
            samples = ratios(
                [value(outcome) for outcome in self.outcomes[above]],
                [value(outcome) for outcome in self.outcomes[below]],
            )
            yield Figure(f"{what}: {above} ÷ {below}", RATIO, samples, bar)

    def latencies(self) -> Iterable[Figure]:
        """Return the percentiles of each entry's latency."""
        for entry in self.entries:
            yield from self.figure(entry.name, "p50", "ms", lambda outcome: outcome.p50_ms)
            yield from self.figure(entry.name, "p99", "ms", lambda outcome: outcome.p99_ms)
            yield from self.figure(entry.name, "p99.9", "ms", lambda outcome: outcome.p999_ms)

    def parameters(self) -> dict[str, object]:
        """Return the number of rounds, and the load of each entry."""
        return {
            "rounds": self.rounds,
            "plans": {entry.name: vars(entry.plan) for entry in self.entries},
        }
