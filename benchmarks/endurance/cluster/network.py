"""Machines on a network of their own, whose ways to each other can be cut, in one direction too.

A machine is a network namespace. Each has one cable, to the namespace of this program, which passes
packets on. Whoever runs it needs no rights for that: the program is in a user namespace
(``inside``).
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ROUTER = "10.77.0.1"
# Set for the program that is in the namespaces.
INSIDE = "RIPTIDE_TEST_NETWORK"
UNSHARE = ("unshare", "--user", "--map-root-user", "--net")
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


class Machine:
    """A network namespace, which lives as long as its first process."""

    def __init__(self, number: int) -> None:
        self.address = f"10.77.0.{10 + number}"
        self._cable = f"cable{number}"
        self._first = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "echo; exec sleep infinity"],  # noqa: S607  # of the system
            stdout=subprocess.PIPE,
        )
        assert self._first.stdout is not None  # noqa: S101  # it was asked for
        self._first.stdout.readline()

    def connect(self) -> None:
        """Lay the cable."""
        cable, address, pid = self._cable, self.address, self._first.pid
        _ip(
            f"link add {cable} type veth peer name eth0 netns {pid}",
            f"link set {cable} up",
            f"route add {address} dev {cable}",
        )
        _ip(
            f"address add {address}/32 dev eth0",
            "link set lo up",
            "link set eth0 up",
            f"route add {ROUTER} dev eth0",
            f"route add default via {ROUTER}",
            prefix=self.command(),
        )

    def command(self) -> list[str]:
        """Return what a command begins with that is to run on this machine, with its own pid."""
        return ["nsenter", f"--net=/proc/{self._first.pid}/ns/net", "--"]

    def remove(self) -> None:
        """Take the cable away, and end the first process."""
        # Its namespace would keep the cable's name for a while.
        _ip(f"link delete {self._cable}", may_fail=True)
        self._first.kill()
        self._first.communicate()


class Network:
    """So many machines, within this context."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.machines: list[Machine] = []
        self._cut: set[tuple[Machine, Machine]] = set()

    def __enter__(self) -> Self:
        """Set up the machines."""
        FORWARDING.write_text("1", encoding="ascii")
        _ip(f"address add {ROUTER}/32 dev lo", "link set lo up", may_fail=True)
        for number in range(self._count):
            machine = Machine(number)
            self.machines.append(machine)
            try:
                machine.connect()
            except RuntimeError:
                self.__exit__()
                raise
        return self

    def __exit__(self, *_: object) -> None:
        """Remove them."""
        self.mend()
        for machine in self.machines:
            machine.remove()

    def drop(self, sources: Iterable[Machine], targets: Iterable[Machine]) -> None:
        """Let nothing pass from sources to targets from now on: it vanishes on its way."""
        for source, target in itertools.product(sources, targets):
            _ip(f"rule add from {source.address} to {target.address} blackhole")
            self._cut.add((source, target))

    def part(self, some: Sequence[Machine], others: Sequence[Machine]) -> None:
        """Let nothing pass between two groups, in either direction."""
        self.drop(some, others)
        self.drop(others, some)

    def mend(self) -> None:
        """Let everything pass."""
        for source, target in self._cut:
            rule = f"from {source.address} to {target.address} blackhole"
            _ip(f"rule delete {rule}")
        self._cut.clear()


def reason_against() -> str | None:
    """Return why there can be no such network here; None if there can."""
    for program in ("unshare", "nsenter", "ip"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    done = subprocess.run([*UNSHARE, "true"], capture_output=True, check=False)  # noqa: S603  # of the system
    return None if done.returncode == 0 else "this user may have no namespaces"


def is_inside() -> bool:
    """Return whether this program has a network namespace of its own."""
    return INSIDE in os.environ


def go_inside(arguments: Sequence[str]) -> NoReturn:
    """Run this program again, in namespaces of its own, in place of this process."""
    os.environ[INSIDE] = "1"
    os.execvp(UNSHARE[0], [*UNSHARE, sys.executable, *arguments])  # noqa: S606  # nothing of it is a shell's


def _ip(*lines: str, prefix: Sequence[str] = (), may_fail: bool = False) -> None:
    done = subprocess.run(  # noqa: S603  # of the system
        [*prefix, "ip", "-batch", "-"],
        input="\n".join(lines).encode(),
        capture_output=True,
        check=False,
    )
    if done.returncode and not may_fail:
        raise RuntimeError(f"ip {lines}: {done.stderr.decode()}")
