"""What can be found out about servers of NATS."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from riptide.storage.jetstream.monitoring import ServerState


class SeenServer(NamedTuple):
    """A server that took a connection."""

    address: str
    name: str
    version: tuple[int, int]
    max_payload: int


class Clock(NamedTuple):
    """How far this machine's clock is ahead of the stream leader's, in seconds.

    The truth is within ``uncertainty_s`` of that.
    """

    offset_s: float
    uncertainty_s: float


@dataclass
class Facts:
    """What was found. What could not be seen is None or empty."""

    # How many addresses the settings have.
    addresses_given: int = 0
    servers: list[SeenServer] = field(default_factory=list)
    # Addresses of the settings that lead to no server, with the reason.
    unreachable: dict[str, str] = field(default_factory=dict)
    # Answers of JetStream's API.
    account: dict[str, Any] | None = None
    stream: dict[str, Any] | None = None
    is_there_no_stream: bool = False
    trouble: str = ""
    denied: list[str] = field(default_factory=list)
    clock: Clock | None = None
    # Topics that end with a message of another program, with what to do about it.
    foreign: list[str] = field(default_factory=list)
    topics_looked_at: int = 0
    # Servers that have told of themselves, and why others have not.
    states: list[ServerState] = field(default_factory=list)
    silent_monitors: dict[str, str] = field(default_factory=dict)

    @property
    def config(self) -> dict[str, Any]:
        """The configuration of the stream; empty if there is none."""
        config: dict[str, Any] = (self.stream or {}).get("config", {})
        return config

    @property
    def cluster(self) -> dict[str, Any]:
        """The stream's leader and other replicas; empty if its server is not of a cluster."""
        cluster: dict[str, Any] = (self.stream or {}).get("cluster") or {}
        return cluster

    def server_names(self) -> set[str]:
        """Return the names of all servers that are known."""
        names = {server.name for server in self.servers} | {state.name for state in self.states}
        names |= {str(each["name"]) for each in self.cluster.get("replicas") or []}
        return (names | {str(self.cluster.get("leader") or "")}) - {""}
