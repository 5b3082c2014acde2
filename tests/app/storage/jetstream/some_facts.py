"""Facts of a cluster that is as it should be, to be changed by tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from riptide.storage.jetstream.facts import Clock, Facts, SeenServer
from riptide.storage.jetstream.findings import Wishes
from riptide.storage.jetstream.monitoring import ServerState
from riptide.storage.jetstream.options import JetStreamOptions
from riptide.storage.jetstream.stream import wanted
from riptide.storage.jetstream.subjects import Subjects
from riptide.storage.message_log import Retention

if TYPE_CHECKING:
    from collections.abc import Iterable

    from riptide.storage.jetstream.findings import Finding

OPTIONS = JetStreamOptions([f"nats://{name}:4222" for name in ("n1", "n2", "n3")])
WISHES = Wishes(OPTIONS, Retention(1000, 3600), 100_000)
MEBIBYTE = 1024 * 1024


def config(**changes: Any) -> dict[str, Any]:
    """Return the configuration of the stream with some changes."""
    return wanted(OPTIONS, Subjects("riptide"), WISHES.retention) | changes


def good_facts(**changes: Any) -> Facts:
    """Return facts of three servers, all of which were seen."""
    names = ("n1", "n2", "n3")
    facts = Facts(
        servers=[SeenServer(f"{name}:4222", name, (2, 15), MEBIBYTE) for name in names],
        account={"storage": 0, "limits": {"max_storage": -1}},
        stream={
            "config": config(),
            "state": {"num_subjects": 3, "bytes": 1000},
            "cluster": {
                "leader": "n1",
                "replicas": [
                    {"name": name, "current": True, "active": 1_000_000} for name in names[1:]
                ],
            },
        },
        clock=Clock(0.001, 0.0005),
        topics_looked_at=3,
        states=[ServerState(name, True, 120, 100 * MEBIBYTE, 10 * MEBIBYTE) for name in names],
    )
    for name, value in changes.items():
        setattr(facts, name, value)
    return facts


def worst(findings: Iterable[Finding]) -> list[str]:
    """Return the findings that are not ok, as lines."""
    lines = [f"{each.level.value} {each.about}: {each.text}" for each in findings]
    return [line for line in lines if not line.startswith("ok ")]
