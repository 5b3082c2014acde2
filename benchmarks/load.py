"""Runs the load client: many consumers and some publishers on one thread, written in Go.

A client in Python would be slower than the servers: it needs ten microseconds for what takes Go
one. Each outcome says how busy the client's core was, which shows whether the client was the limit.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks import load_client, machine
from benchmarks.peers.peer import SSE
from benchmarks.service import HOST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.peers.peer import Peer, Serving

PAYLOAD_BYTES = 120
# The time that a run may take besides the time in which it publishes.
PATIENCE_S = 60.0
MILLISECONDS = 1_000_000
WARM_UPS = 20


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The client's task; see ``loadclient/plan.go``.

    Without a rate, the client publishes as soon as fewer than ``window`` messages are in flight:
    sent, but not yet received by every consumer.
    """

    consumers: int
    seconds: float
    transport: str = SSE
    stalled: int = 0
    connecting: int = 128
    publishers: int = 16
    rate: float = 0
    window: int = 64
    batch: int = 1
    payload_bytes: int = PAYLOAD_BYTES
    storm_after: float = 0
    away: float = 0
    pause: bool = False

    @property
    def warm_ups(self) -> int:
        """How many messages are sent before the measurement; a quick run needs but one."""
        return WARM_UPS if self.seconds >= 1 else 1


@dataclass(frozen=True)
class Outcome:
    """The client's result and events, and the server's processor time in seconds."""

    result: dict[str, Any]
    server_cpu: float
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def deliveries_per_s(self) -> float:
        """Messages times consumers a second."""
        return float(self.result["deliveries"] / self.result["seconds"])

    @property
    def client_busy(self) -> float:
        """The share of its core that the client took."""
        return float(self.result["client_cpu_seconds"] / self.result["seconds"])

    @property
    def server_busy(self) -> float:
        """The share of its core that the server took."""
        return float(self.server_cpu / self.result["seconds"])

    @property
    def p50_ms(self) -> float:
        """Half of the deliveries took no longer."""
        return float(self.result["p50_ns"] / MILLISECONDS)

    @property
    def p99_ms(self) -> float:
        """99 of 100 deliveries took no longer."""
        return float(self.result["p99_ns"] / MILLISECONDS)

    @property
    def p999_ms(self) -> float:
        """999 of 1,000 deliveries took no longer."""
        return float(self.result["p999_ns"] / MILLISECONDS)


def run(peer: Peer, serving: Serving, plan: Plan) -> Outcome:
    """Carry out a plan.

    Raises:
        RuntimeError: some consumer did not get every message once, or the run failed.

    """
    with running(peer, serving, plan) as client:
        return client.outcome()


class Client:
    """A running load client."""

    def __init__(self, process: subprocess.Popen[bytes], peer: Peer, serving: Serving) -> None:
        self._process = process
        self._peer = peer
        self._serving = serving

    def await_event(self, name: str) -> dict[str, Any]:
        """Wait until the client reports an event.

        Raises:
            RuntimeError: the client failed before.

        """
        assert self._process.stdout is not None  # noqa: S101  # it was asked for
        for line in self._process.stdout:
            event: dict[str, Any] = json.loads(line)
            if event["event"] == name:
                return event
            if event.get("failure"):
                raise RuntimeError(f"{self._peer.name}: {event['failure']} ({event})")
        raise RuntimeError(f"{self._peer.name}: the load client ended without a result")

    def go_on(self) -> None:
        """Let a client that pauses continue."""
        assert self._process.stdin is not None  # noqa: S101  # it was asked for
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()

    def outcome(self) -> Outcome:
        """Wait for the end of the run, and return its outcome."""
        self.await_event("started")
        before = self._serving.cpu_seconds()
        self.await_event("finished")
        cpu = self._serving.cpu_seconds() - before
        result = self.await_event("result")
        if result.get("failure") or result["lost"] or result["duplicated"]:
            raise RuntimeError(f"{self._peer.name}: not everything was delivered: {result}")
        return Outcome(result, cpu)


@contextlib.contextmanager
def running(peer: Peer, serving: Serving, plan: Plan) -> Iterator[Client]:
    """Run the client on its core, within this context."""
    with machine.pinned_to(machine.client_cores()):
        process = subprocess.Popen(  # noqa: S603  # our own program
            [load_client.built()], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
    assert process.stdin is not None  # noqa: S101  # it was asked for
    try:
        process.stdin.write(_plan_line(peer, serving, plan))
        process.stdin.flush()
        yield Client(process, peer, serving)
    finally:
        process.kill()
        process.communicate()


def _plan_line(peer: Peer, serving: Serving, plan: Plan) -> bytes:
    batches = peer.batches if plan.batch > 1 else {}
    members = {
        "host": HOST,
        "port": serving.port,
        "ports": serving.instances,
        "subscribe": peer.subscribe(plan.transport),
        "publish": {
            "port": serving.publish_port,
            "ports": serving.publish_instances,
            **peer.publish,
            **batches,
        },
        "consumers": plan.consumers,
        "stalled": plan.stalled,
        "connecting": plan.connecting,
        "publishers": plan.publishers,
        "rate": plan.rate,
        "window": plan.window,
        "batch": plan.batch,
        "bytes": plan.payload_bytes,
        "seconds": plan.seconds,
        "pause": plan.pause,
        "warm_ups": plan.warm_ups,
        "storm_after": plan.storm_after,
        "away": plan.away,
        "timeout": plan.seconds + plan.storm_after + plan.away + PATIENCE_S,
    }
    return json.dumps(members).encode() + b"\n"
