"""What the facts about servers of NATS mean for a service with certain settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from riptide.storage.jetstream import durability
from riptide.storage.jetstream.findings import wrong
from riptide.storage.jetstream.server_findings import about_servers, is_synced
from riptide.storage.jetstream.stream_findings import about_stream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from riptide.storage.jetstream.facts import Facts
    from riptide.storage.jetstream.findings import Finding, Wishes


class Report(NamedTuple):
    """All findings, and what an acknowledgement is worth (empty if there is none)."""

    findings: Sequence[Finding]
    worth: str


def judge(facts: Facts, wishes: Wishes) -> Report:
    """Return what the facts mean."""
    replicas = int(facts.config.get("num_replicas", wishes.options.replicas))
    findings = [*about_servers(facts, replicas), *about_stream(facts, wishes, replicas)]
    return Report(findings, durability.explain(replicas, is_synced=is_synced(facts)))


def unreachable(reason: str) -> Report:
    """Return the report if there is no server to ask."""
    return Report([wrong("connection", reason)], "")
